"""Parsed templates → closures that render them.

Source: Go 1.26 `text/template/exec.go`.  What can be known beforehand is found out once: variables are slots of a list, literals are constants,
and each place where something can fail knows where it is.  A closure for a value takes (frame, dot); a frame is `[run, root, variables…]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from groundplane.core import goformat
from groundplane.core.gotemplate import nodes, values
from groundplane.core.gotemplate.lexer import quoted
from groundplane.core.gotemplate.mistakes import ExecutionError, Exhausted, Failure, Source, executing
from groundplane.core.gotemplate.nodes import Node, Operand
from groundplane.core.gotemplate.parser import Parsed
from groundplane.core.gotemplate.run import MAX_CALLS, Run
from groundplane.core.gotemplate.values import INVALID, Function, Int, Struct, Value, kind, type_name
from groundplane.errors import GroundplaneError, did_you_mean, nearest

Frame = list[Any]
Evaluate = Callable[[Frame, Value], Value]
Execute = Callable[[Frame, Value], str]  # "" or how it ended: "break", "continue"
MissingKey = Literal["default", "zero", "error"]

_UNDECLARED = object()
_FRAMES = 40_000  # of Python, for MAX_CALLS templates in one another
_BEFORE = sys.getrecursionlimit()
_SELDOM = 8  # templates in one another, between two looks at that
_under_way: set[Run] = set()  # renderings, of all threads: the limit is the process's
_WEIGHTY = frozenset(
    (
        str,
        bytes,
        list,
        dict,
        values.Strings,
        values.Ints,
        values.Lists,
        values.AnyMap,
        values.StringMap,
        values.BytesMap,
    )
)


class Program:
    """The templates of one text, ready to run."""

    def __init__(
        self, source: Source, parsed: Mapping[str, Parsed], functions: Mapping[str, Function], missing: MissingKey
    ) -> None:
        self.source = source
        self.functions = functions
        self.missing = missing
        self.used: set[str] = set()
        self.bodies: dict[str, tuple[Execute, int]] = {}
        for each in parsed.values():
            compiler = _Compiler(self, each.name)
            self.bodies[each.name] = (compiler.block(each.body), compiler.slots)

    def render(self, run: Run, data: Value) -> str:
        """The output of the text itself.

        Raises:
            ExecutionError: with line and column.
        """
        run.include = self.include
        _under_way.add(run)
        sys.setrecursionlimit(_FRAMES)
        try:
            self.execute(self.source.name, run, data)
        except RecursionError:
            raise ExecutionError(
                f'template: {self.source.name}: executing "{self.source.name}": templates or values are nested too deep',
                mend="make it flatter",
            ) from None
        finally:
            _under_way.discard(run)
            if not _under_way:
                sys.setrecursionlimit(_BEFORE)
        return "".join(run.out)

    def execute(self, name: str, run: Run, dot: Value) -> None:
        body, slots = self.bodies[name]
        frame = [run, dot, *[_UNDECLARED] * slots]
        body(frame, dot)

    def include(self, run: Run, name: str, dot: Value) -> str:
        """The output of a template of a name."""
        if name not in self.bodies:
            mend = _undefined(name, self.bodies)
            raise Failure(f'template: no template {quoted(name)} associated with template "{self.source.name}"', mend)
        out, room = run.out, run.room
        run.out = []
        self.nest(run)
        try:
            self.execute(name, run, dot)
            return "".join(run.out)
        finally:
            run.depth -= 1
            run.out, run.room = out, room

    def nest(self, run: Run) -> None:
        run.depth += 1
        if not run.depth % _SELDOM:
            sys.setrecursionlimit(_FRAMES)  # a rendering of another thread may have ended
        if run.depth > MAX_CALLS:
            raise Exhausted(f"exceeded maximum template depth ({MAX_CALLS})", "give the recursion an end")


class _Compiler:
    """Compiles one template."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name
        self.scope: list[tuple[str, int]] = [("$", 1)]
        self.slots = 0

    def wrong(self, node: Any, what: str, mend: str = "") -> ExecutionError:
        return executing(self.program.source, node.position, self.name, str(node), what, mend)

    def failing(self, node: Any, what: str, mend: str = "") -> Evaluate:
        """What fails whenever it is reached."""

        def fail(frame: Frame, dot: Value) -> NoReturn:
            raise self.wrong(node, what, mend)

        return fail

    # --- statements ---

    def block(self, body: Sequence[Node]) -> Execute:
        steps = tuple(self.statement(node) for node in body)
        cost = len(steps)
        first = body[0] if body else None

        def execute(frame: Frame, dot: Value) -> str:
            run = frame[0]
            run.left -= cost
            if run.left < 0:
                self.used_up(run, first)
            for step in steps:
                ended = step(frame, dot)
                if ended:
                    return ended
            return ""

        return execute

    def used_up(self, run: Run, node: Any) -> None:
        """Steps are: a pause is due, or it has taken too many."""
        try:
            run.charge(0)
        except Failure as failure:
            position = node.position if node is not None else 0
            context = "" if isinstance(node, nodes.Text | nodes.Jump) or node is None else str(node)
            raise executing(self.program.source, position, self.name, context, failure.what, failure.mend) from None

    def statement(self, node: Node) -> Execute:
        match node:
            case nodes.Text():
                return self.text(node)
            case nodes.Action():
                return self.action(node)
            case nodes.Branch(word="range"):
                return self.range(node)
            case nodes.Branch():
                return self.branch(node)
            case nodes.Jump():
                word = node.word
                return lambda frame, dot: word
            case nodes.Template():
                return self.template(node)

    def text(self, node: nodes.Text) -> Execute:
        text = node.text

        def write(frame: Frame, dot: Value) -> str:
            try:
                frame[0].write(text)
            except Failure as failure:
                raise executing(self.program.source, node.position, self.name, "", failure.what, failure.mend) from None
            return ""

        return write

    def action(self, node: nodes.Action) -> Execute:
        evaluate = self.pipeline(node.pipeline)
        if node.pipeline.declared:

            def only_evaluate(frame: Frame, dot: Value) -> str:
                evaluate(frame, dot)
                return ""

            return only_evaluate
        shown = str(node)

        def write(frame: Frame, dot: Value) -> str:
            value = evaluate(frame, dot)
            if value is INVALID:
                frame[0].valueless[node.position] = shown
            try:
                frame[0].write(value if type(value) is str else printed(frame[0], value))
            except Failure as failure:
                raise self.wrong(node, failure.what, failure.mend) from None
            return ""

        return write

    def branch(self, node: nodes.Branch) -> Execute:
        known = len(self.scope)
        evaluate = self.pipeline(node.pipeline)
        body = self.block(node.body)
        otherwise = self.block(node.otherwise) if node.otherwise is not None else None
        del self.scope[known:]
        is_with = node.word == "with"

        def execute(frame: Frame, dot: Value) -> str:
            value = evaluate(frame, dot)
            if value:
                return body(frame, value if is_with else dot)
            return otherwise(frame, dot) if otherwise is not None else ""

        return execute

    def range(self, node: nodes.Branch) -> Execute:
        known = len(self.scope)
        evaluate = self.pipeline(node.pipeline)
        slots = [self.slot_of(variable.name) for variable in node.pipeline.declared]
        body = self.block(node.body)
        otherwise = self.block(node.otherwise) if node.otherwise is not None else None
        del self.scope[known:]
        place = self.last(node.pipeline)
        index_slot = slots[0] if len(slots) > 1 else None
        item_slot = slots[-1] if slots else None

        def execute(frame: Frame, dot: Value) -> str:
            value = evaluate(frame, dot)
            pairs = self.pairs(value, place, len(slots))
            run, is_empty = frame[0], True
            for index, item in pairs:
                is_empty = False
                run.left -= 1
                if item_slot is not None:
                    frame[item_slot] = item
                    if index_slot is not None:
                        frame[index_slot] = index
                if body(frame, item) == "break":
                    break
            if is_empty and otherwise is not None:
                return otherwise(frame, dot)
            return ""

        return execute

    def pairs(self, value: Value, place: Any, variables: int) -> Any:
        """Indexes and items of what is ranged over."""
        if isinstance(value, list):
            return [(Int(index), item) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return [(name, value[name]) for name in goformat.sorted_keys(value)]
        if value is INVALID or value is None:
            return ()
        if isinstance(value, int) and not isinstance(value, bool | goformat.Special):
            if variables > 1:
                raise self.wrong(place, f"can't use {value} to iterate over more than one variable")
            make = type(value)
            return ((INVALID, make(number)) for number in range(value))
        if isinstance(value, bytes):
            return [(Int(index), values.Uint8(item)) for index, item in enumerate(value)]
        mend = "turn it into a list: (list X), splitList, fromJson" if isinstance(value, str) else ""
        raise self.wrong(place, f"range can't iterate over {_article(kind(value))}", mend)

    def template(self, node: nodes.Template) -> Execute:
        program = self.program
        evaluate = self.pipeline(node.pipeline) if node.pipeline is not None else None

        def execute(frame: Frame, dot: Value) -> str:
            if node.name not in program.bodies:
                mend = _undefined(node.name, program.bodies)
                raise self.wrong(node, f"template {quoted(node.name)} not defined", mend)
            given = evaluate(frame, dot) if evaluate is not None else INVALID
            run = frame[0]
            try:
                program.nest(run)
            except Failure as failure:
                raise self.wrong(node, failure.what, failure.mend) from None
            program.execute(node.name, run, given)
            run.depth -= 1
            return ""

        return execute

    # --- pipelines ---

    def pipeline(self, node: nodes.Pipeline) -> Evaluate:
        evaluate: Evaluate | None = None
        place: Any = node
        for command in node.commands:
            if evaluate is not None and len(command.arguments) > 1:
                evaluate = self.staged(evaluate, command, place)
            else:
                evaluate = self.command(command, evaluate, place)
            place = self.last(command)
        assert evaluate is not None, "a pipeline has commands"
        if not node.declared:
            return _solid(evaluate)
        value_of = _solid(evaluate)
        slots = []
        for variable in node.declared:
            if not node.assigns:
                self.slots += 1
                self.scope.append((variable.name, self.slots + 1))
            slot = self.slot_of(variable.name)
            if slot is None:
                return self.after(
                    value_of, self.failing(place, f"undefined variable: {variable.name}", "declare it with :=")
                )
            slots.append(slot)

        def declare(frame: Frame, dot: Value) -> Value:
            value = value_of(frame, dot)
            for slot in slots:
                frame[slot] = value
            return value

        return declare

    def staged(self, before: Evaluate, command: nodes.Command, place: Any) -> Evaluate:
        """A stage with arguments of its own: what the stage before gives is evaluated first."""
        self.slots += 1
        slot = self.slots + 1
        stage = self.command(command, lambda frame, dot: frame[slot], place)

        def evaluate(frame: Frame, dot: Value) -> Value:
            frame[slot] = before(frame, dot)
            return stage(frame, dot)

        return evaluate

    def after(self, first: Evaluate, then: Evaluate) -> Evaluate:
        def evaluate(frame: Frame, dot: Value) -> Value:
            first(frame, dot)
            return then(frame, dot)

        return evaluate

    def slot_of(self, name: str) -> int | None:
        return next((slot for known, slot in reversed(self.scope) if known == name), None)

    def command(self, node: nodes.Command, final: Evaluate | None, before: Any) -> Evaluate:
        """One stage; `final` is what the stage before gives."""
        first = node.arguments[0]
        match first:
            case nodes.Identifier():
                return self.call(self.program.functions[first.name], node, node.arguments[1:], final, first)
            case nodes.Field() | nodes.Variable() | nodes.Chain():
                return self.reached(first, node.arguments[1:], final)
        if len(node.arguments) > 1 or final is not None:
            what = f"can't give argument to non-function {first}"
            return self.failing(before if isinstance(first, nodes.Pipeline) else first, what)
        if isinstance(first, nodes.Nil):
            return self.failing(first, "nil is not a command")
        return self.operand(first)

    def operand(self, node: Operand) -> Evaluate:
        """The value of an operand that stands for itself."""
        match node:
            case nodes.Dot():
                return lambda frame, dot: dot
            case nodes.Pipeline():
                return self.pipeline(node)
            case nodes.Field() | nodes.Variable() | nodes.Chain():
                return self.reached(node, [], None)
            case nodes.Identifier():
                return self.call(self.program.functions[node.name], node, [], None, node)
            case nodes.Nil():
                return lambda frame, dot: None
            case nodes.Bool() | nodes.String():
                constant: Value = node.value
                return lambda frame, dot: constant
            case nodes.Number():
                return self.ideal(node)

    def ideal(self, node: nodes.Number) -> Evaluate:
        """A number that nothing says the type of."""
        text = node.text
        is_hex = text[:2] in ("0x", "0X") and not any(mark in text for mark in "pP")
        value: Value
        if node.complex is not None:
            value = node.complex
        elif node.float is not None and not is_hex and text[0] != "'" and any(mark in text for mark in ".eEpP"):
            value = node.float
        elif node.integer is not None:
            value = Int(node.integer)
        else:
            return self.failing(node, f"{text} overflows int", "write it as text, or as a float")
        return lambda frame, dot: value

    # --- arguments ---

    def argument(self, node: Operand, parameter: str) -> Evaluate:
        """A value that fits a parameter."""
        match node:
            case nodes.Nil():
                value = values.zero(parameter)
                if value is INVALID:
                    return self.failing(node, f"cannot assign nil to {values.PARAMETERS[parameter]}")
                return (lambda frame, dot: value) if value is None else (lambda frame, dot: values.zero(parameter))
            case nodes.Bool() | nodes.Number() | nodes.String():
                return self.literal(node, parameter)
        return self.fitting(self.operand(node), parameter, self.last(node))

    def literal(self, node: nodes.Bool | nodes.Number | nodes.String, parameter: str) -> Evaluate:
        if parameter in ("any", "value"):
            return self.operand(node)
        value: Value = INVALID
        wanted = _WORDS.get(parameter)
        if wanted is None:
            return self.failing(node, f"can't handle {node} for arg of type {values.PARAMETERS[parameter]}")
        if isinstance(node, nodes.Number):
            if parameter in ("int", "int64", "uint32"):
                number = node.unsigned if parameter == "uint32" else node.integer
                value = (
                    INVALID
                    if number is None
                    else {"int": Int, "int64": int, "uint32": values.Uint32}[parameter](number)
                )
            elif parameter == "float64" and node.float is not None:
                value = node.float
        elif isinstance(node.value, str if parameter == "string" else bool) and parameter in ("string", "bool"):
            value = node.value
        if value is INVALID:
            is_quoted = isinstance(node, nodes.String) and wanted in ("integer", "float", "bool")
            return self.failing(
                node, f"expected {wanted}; found {node}", "write it without quotes" if is_quoted else _mend(parameter)
            )
        return lambda frame, dot: value

    def fitting(self, evaluate: Evaluate, parameter: str, place: Any) -> Evaluate:
        if parameter in ("any", "value"):

            def anything(frame: Frame, dot: Value) -> Value:
                value = evaluate(frame, dot)
                return None if value is INVALID else value

            return anything
        wanted = values.PARAMETERS[parameter]
        quick = {
            "string": str,
            "int": Int,
            "int64": int,
            "float64": float,
            "bool": bool,
            "map": dict,
            "list": list,
        }.get(parameter)

        def checked(frame: Frame, dot: Value) -> Value:
            value = evaluate(frame, dot)
            if type(value) is quick:
                return value
            if value is INVALID:
                value = values.zero(parameter)
                if value is INVALID:
                    mend = 'guard it: {{ with X }}…{{ end }}, or X | default "…"'
                    raise self.wrong(place, f"invalid value; expected {wanted}", mend)
                return value
            if value is not None and type_name(value) == wanted:
                return value
            got = "interface {}" if value is None else type_name(value)
            raise self.wrong(place, f"wrong type for value; expected {wanted}; got {got}", _mend(parameter))

        return checked

    # --- calls ---

    def call(
        self, function: Function, node: Any, arguments: Sequence[Operand], final: Evaluate | None, place: Any
    ) -> Evaluate:
        """The call of a function; `node` is what errors of the function show, `place` what stands before its arguments."""
        self.program.used.add(function.name)
        count = len(arguments) + (final is not None)
        fixed = len(function.types)
        if function.repeated:
            if count < fixed:
                what = f"wrong number of args for {function.name}: want at least {fixed} got {len(arguments)}"
                return self.failing(place, what, _takes(function))
        elif count != fixed:
            what = f"wrong number of args for {function.name}: want {fixed} got {count}"
            return self.failing(place, what, _takes(function))
        if function.is_builtin and function.name in ("and", "or"):
            return self.short_circuit(function, arguments, final)
        parameters = [*function.types, *[function.repeated] * (count - fixed)]
        given = [self.argument(argument, parameter) for argument, parameter in zip(arguments, parameters, strict=False)]
        if final is not None:
            given.append(self.fitting(final, parameters[-1], self.last(arguments[-1]) if arguments else place))
        return self.invoke(function, given, node)

    def invoke(self, function: Function, given: Sequence[Evaluate], node: Any) -> Evaluate:
        call, is_deep, wants_run = function.call, function.is_deep, function.wants_run

        def invoke(frame: Frame, dot: Value) -> Value:
            arguments = [each(frame, dot) for each in given]
            run = frame[0]
            run.left -= 1
            try:
                if run.left < 0:
                    run.charge(0)
                for argument in arguments:
                    if type(argument) in _WEIGHTY:
                        if len(argument) > 1_000:
                            run.weigh(argument)
                        if is_deep:
                            run.weigh_all(argument)
                value = call(run, *arguments) if wants_run else call(*arguments)
                if type(value) in _WEIGHTY and len(value) > 1_000:
                    run.weigh(value)
                return value
            except ExecutionError as error:
                what = f"error calling {function.name}: {error.what}"
                raise self.wrong(node, what, error.mend) from None
            except Failure as failure:
                raise self.wrong(node, f"error calling {function.name}: {failure.what}", failure.mend) from None
            except GroundplaneError as error:
                mend = error.mend or "let it make less"
                raise self.wrong(node, f"error calling {function.name}: {error.what}", mend) from None

        return invoke

    def short_circuit(self, function: Function, arguments: Sequence[Operand], final: Evaluate | None) -> Evaluate:
        """`and` and `or`: they look no further than they must, and give the operand that decides."""
        given = [self.argument(argument, "value") for argument in arguments]
        if final is not None:
            given.append(final)
        stops = function.name == "or"

        def decide(frame: Frame, dot: Value) -> Value:
            value: Value = None
            for each in given:
                value = each(frame, dot)
                if bool(value) is stops:
                    break
            return value

        return decide

    # --- names ---

    def reached(
        self,
        node: nodes.Field | nodes.Variable | nodes.Chain,
        arguments: Sequence[Operand],
        final: Evaluate | None,
    ) -> Evaluate:
        """What a chain of names leads to."""
        start, place = self.start(node)
        names = node.names
        if not names and (arguments or final is not None):
            return self.failing(node, f"can't give argument to non-function {node}")
        given = [self.operand(argument) for argument in arguments] + ([final] if final is not None else [])
        follow = self.follow
        if not given:
            if isinstance(node, nodes.Field) and len(names) == 1:
                [name] = names
                return self.member(name, place)

            def reach(frame: Frame, dot: Value) -> Value:
                value = start(frame, dot)
                for name in names:
                    value = value[name] if type(value) is dict and name in value else follow(value, name, place)
                return value

            return reach
        *before, last = names

        def reach_and_call(frame: Frame, dot: Value) -> Value:
            value = start(frame, dot)
            for name in before:
                value = follow(value, name, place)
            return self.method(frame, dot, value, last, given, place)

        return reach_and_call

    def member(self, name: str, place: Any) -> Evaluate:
        follow = self.follow

        def reach(frame: Frame, dot: Value) -> Value:
            if type(dot) is dict and name in dot:
                return dot[name]
            return follow(dot, name, place)

        return reach

    def start(self, node: nodes.Field | nodes.Variable | nodes.Chain) -> tuple[Evaluate, Any]:
        """Where a chain of names begins, and what Go names in an error of it."""
        if isinstance(node, nodes.Field):
            return (lambda frame, dot: dot), node
        if isinstance(node, nodes.Chain):
            if isinstance(node.node, nodes.Nil):
                return self.failing(node, "indirection through explicit nil"), node
            return self.operand(node.node), self.last(node.node)
        slot = self.slot_of(node.name)
        if slot is None:
            return self.failing(node, f"undefined variable: {node.name}"), node

        def variable(frame: Frame, dot: Value) -> Value:
            value = frame[slot]
            if value is _UNDECLARED:
                raise self.wrong(node, f"undefined variable: {node.name}")
            return value

        return variable, node

    def follow(self, value: Value, name: str, place: Any) -> Value:
        """One name further."""
        if isinstance(value, dict):
            if name in value:
                return value[name]
            return self.absent(name, place)
        if value is INVALID:
            if self.program.missing == "error":
                raise self.wrong(place, f"nil data; no entry for key {quoted(name)}")
            return INVALID
        if value is None:
            mend = f"it is null: guard it, {{{{ with … }}}}{{{{ .{name} }}}}{{{{ end }}}}, or use dig"
            raise self.wrong(place, f"nil pointer evaluating interface {{}}.{name}", mend)
        if isinstance(value, Struct):
            if name in value.fields:
                return value.fields[name]
            if name in value.methods:
                return self.called(value.methods[name], [value], place, name)
        mend = 'only a map has fields: see what is before it, {{ printf "%T" X }}'
        if isinstance(value, Struct):
            mend = did_you_mean(name, value.fields)
        raise self.wrong(place, f"can't evaluate field {name} in type {type_name(value)}", mend)

    def absent(self, name: str, place: Any) -> Value:
        if self.program.missing == "error":
            raise self.wrong(
                place, f"map has no entry for key {quoted(name)}", "guard it, or use dig: options say missingkey=error"
            )
        return None if self.program.missing == "zero" else INVALID

    def method(self, frame: Frame, dot: Value, value: Value, name: str, given: Sequence[Evaluate], place: Any) -> Value:
        """The last name of a chain, with arguments: only a method takes some."""
        if value is INVALID:
            return self.follow(value, name, place)
        if isinstance(value, Struct) and name in value.methods:
            arguments = [value, *(each(frame, dot) for each in given)]
            return self.called(value.methods[name], arguments, place, name)
        if isinstance(value, Struct) and name in value.fields:
            raise self.wrong(place, f"{name} has arguments but cannot be invoked as function")
        if isinstance(value, dict):
            raise self.wrong(
                place,
                f"{name} is not a method but has arguments",
                "functions stand before their arguments: name them first",
            )
        return self.follow(value, name, place)

    def called(self, method: Callable[..., Value], arguments: Sequence[Value], place: Any, name: str) -> Value:
        try:
            return method(*arguments)
        except Failure as failure:
            raise self.wrong(place, f"error calling {name}: {failure.what}", failure.mend) from None
        except TypeError:
            raise self.wrong(place, f"wrong number or type of args for {name}") from None

    def last(self, node: Any) -> Any:
        """What Go is at after it has evaluated something, which is what it names when the value turns out wrong."""
        match node:
            case nodes.Command():
                if isinstance(node.arguments[0], nodes.Identifier | nodes.Pipeline | nodes.Chain):
                    return self.last(node.arguments[-1])
                return self.last(node.arguments[0])
            case nodes.Pipeline():
                return self.last(node.commands[-1])
            case nodes.Chain():
                return self.last(node.node)
        return node


_WORDS = {
    "string": "string",
    "bool": "bool",
    "int": "integer",
    "int64": "integer",
    "uint32": "integer",
    "float64": "float",
}
_MENDS = {
    "string": "turn it into text: toString X, or X | quote",
    "int": "turn it into one: int X",
    "int64": "turn it into one: int64 X",
    "float64": "turn it into one: float64 X",
    "bool": "compare it: eq X Y, or not (empty X)",
    "map": "give it a map: dict, or a part of the request that is one",
    "list": "give it a list: list X Y",
}


def _mend(parameter: str) -> str:
    return _MENDS.get(parameter, "")


def _undefined(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"define it: {{{{ define {quoted(name)} }}}}…{{{{ end }}}}"


def _takes(function: Function) -> str:
    """What a function is given; a pipe gives the last."""
    names = [values.PARAMETERS[each] for each in (*function.types, *([function.repeated] * bool(function.repeated)))]
    given = ", ".join(names).replace("interface {}", "any value").replace("map[string]any value", "map")
    return f"give it {given or 'nothing'}{' …' if function.repeated else ''}; what is piped into it counts as the last"


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _solid(evaluate: Evaluate) -> Evaluate:
    """What a pipeline gives: a nil is nothing at all there."""

    def solid(frame: Frame, dot: Value) -> Value:
        value = evaluate(frame, dot)
        return INVALID if value is None else value

    return solid


def printed(run: Run, value: Value) -> str:
    """What an action writes."""
    if value is INVALID:
        return "<no value>"
    try:
        text = goformat.text(value)
    except GroundplaneError as error:
        raise Exhausted(error.what, error.mend or "let it make less") from None
    run.charge(len(text) >> 4)
    return text
