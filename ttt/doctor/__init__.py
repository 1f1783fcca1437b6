"""`ttt doctor`: what this machine or allocation can do, and a judgement of it.

Every check is in two halves. `look` measures on one rank and returns facts, a small picklable
value; `judge` is a pure function from the facts of all ranks to findings. Facts are gathered to
every rank, so that all come to the same findings and exit code without agreeing on them.

A number that could not be measured is None, and the finding says why.
"""
