"""function-regions: a bucket in each region that the composite names, and in its status how many are ready.

python main.py --insecure --address localhost:9443
"""

import click
from crossplane.function import cli, resource, response
from crossplane.function.proto.v1 import run_function_pb2 as fnv1
from crossplane.function.proto.v1 import run_function_pb2_grpc as grpcv1


class Function(grpcv1.FunctionRunnerService):
    async def RunFunction(self, request: fnv1.RunFunctionRequest, _) -> fnv1.RunFunctionResponse:
        answer = response.to(request)  # all that is desired already: what is not in the answer is deleted
        given = resource.struct_to_dict(request.input)
        composite = resource.struct_to_dict(request.observed.composite.resource)

        regions = composite["spec"].get("regions", [])
        if not regions:
            response.fatal(answer, "spec.regions is empty: name at least one")
            return answer

        ready = 0
        for region in regions:
            name = f"bucket-{region}"
            bucket = {
                "apiVersion": "s3.aws.upbound.io/v1beta1",
                "kind": "Bucket",
                "spec": {"forProvider": {"region": region, "tags": given.get("tags", {})}},
            }
            resource.update(answer.desired.resources[name], bucket)
            if resource.get_condition(request.observed.resources[name].resource, "Ready").status == "True":
                answer.desired.resources[name].ready = fnv1.READY_TRUE
                ready += 1
        resource.update(answer.desired.composite, {"status": {"ready": f"{ready} of {len(regions)}"}})
        return answer


@click.command()
@cli.standard_options
def main(**options):
    cli.run(Function(), **options)


if __name__ == "__main__":
    main()
