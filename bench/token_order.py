"""What the order of a language model's samples costs: seconds, memory, and the look-up of a sample.

    python bench/token_order.py [--documents 45608704] [--epochs 8] [--length 8192]

Documents have made-up lengths, 465 tokens in the mean, as those of C4 have about. As many as 128 of
the 1,024 shards of C4 have is the default. Nothing is read from a disk.
"""

import argparse
import resource
import time

import numpy as np

from ttt.data.gpt_order import Passes, Stream, document_order, generator, sample_order

LOOKED_UP = 1000


def used_gb() -> float:
    """The most memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=45_608_704)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--length", type=int, default=8192)
    asked = parser.parse_args()
    lengths = np.random.RandomState(0).randint(50, 880, size=asked.documents, dtype=np.int32)
    total = int(lengths.sum(dtype=np.int64))
    every = (total - 1) // asked.length
    # Half of the last epoch is needed, so that it is shuffled apart.
    passes = Passes.of(total, asked.length, int(every * (asked.epochs - 0.5)))
    print(f"{asked.documents:,} documents, {total:,} tokens, {passes}")
    before, random, began = used_gb(), generator(1, 0), time.perf_counter()
    documents = document_order(random, asked.documents, passes)
    shuffled = time.perf_counter()
    stream = Stream(lengths, documents)
    added = time.perf_counter()
    samples = sample_order(random, passes)
    done = time.perf_counter()
    for sample in samples[:LOOKED_UP].tolist():
        list(stream.pieces(sample * asked.length, asked.length + 1))
    looked_up = time.perf_counter() - done
    print(f"documents {shuffled - began:.1f} s, their lengths {added - shuffled:.1f} s,", end=" ")
    print(f"samples {done - added:.1f} s: {done - began:.1f} s, {used_gb() - before:.2f} GB")
    print(f"look-up {looked_up / LOOKED_UP * 1e6:.0f} us a sample")


if __name__ == "__main__":
    main()
