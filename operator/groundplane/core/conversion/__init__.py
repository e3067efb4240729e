"""From what Crossplane took away to what takes its place: Compositions of mode Resources to pipelines, and more.

Source: Crossplane v1.20 `cmd/crank/beta/convert`, by its answers.  Here are whole objects; keeping comments is
the command's affair.
"""
