"""`ttt doctor`: what this machine or allocation can do, and a judgement of it.

`checks` is the table of all checks. Each has two halves: `look` measures on one rank and returns
facts, a small picklable value; `judge` is a pure function from the facts of all ranks to findings.
`examination` runs them: the local ones before the ranks meet, the others when all ranks take part.
Facts are gathered to every rank, so that all come to the same findings and exit code without
agreeing on them.

A number that could not be measured is None, and the finding gives the reason.
"""
