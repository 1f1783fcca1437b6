"""Beam search: against greedy search, against enumeration, and whatever else is in the batch."""
# ruff: noqa: N803 - capital letters name dimensions

import itertools
import math

import pytest
import torch

from translators import MODELS, VOCABULARY, prefixes, sentences
from ttt.errors import ConfigError
from ttt.models.beam import search
from ttt.special_tokens import BOS, EOS, PAD

LENGTHS = (9, 2, 5, 5, 7, 3, 8, 4)


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def rows(found: torch.Tensor) -> list[list[int]]:
    """Translations as lists, checked to be words, one EOS, padding."""
    result = []
    for row in found.tolist():
        end = row.index(EOS)
        assert not set(row[: end + 1]) & {PAD, BOS}
        assert set(row[end + 1 :]) <= {PAD}
        result.append(row[: end + 1])
    return result


@torch.no_grad()
def greedy(model, source, max_length):
    """The most probable word, again and again, each time by the whole model."""
    said = [BOS]
    while len(said) <= max_length:
        logits = model(source[None], torch.tensor([said]))[0, -1]
        logits[[PAD, BOS]] = -torch.inf
        said.append(EOS if len(said) == max_length else int(logits.argmax()))
        if said[-1] == EOS:
            break
    return said[1:]


@torch.no_grad()
def test_a_word_at_a_time_gives_the_logits_of_all_at_once(model):
    source, target = sentences(*LENGTHS[:3]), prefixes(6, 6, 6)
    state = model.start(source, 1, 6)
    expected = model(source, target)
    for place in range(6):
        actual = model.advance(target[:, place], state)
        torch.testing.assert_close(actual, expected[:, place], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_beams_that_change_places_take_their_past_along(model):
    source, target = sentences(*LENGTHS[:2]), prefixes(4, 4, 4, 4, 4, 4)  # 3 beams a sentence
    state = model.start(source, 3, 4)
    for place in range(3):
        model.advance(target[:, place], state)
    order = torch.tensor([2, 0, 2, 4, 4, 3])
    state.reorder(order)
    actual = model.advance(target[:, 3], state)
    continued = torch.cat([target[order, :3], target[:, 3:]], dim=1)
    expected = model(source.repeat_interleave(3, dim=0), continued)[:, -1]
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6])
def test_one_beam_is_greedy_search(model, length_penalty):
    source = sentences(*LENGTHS)
    found = search(model, source, beam=1, length_penalty=length_penalty, max_length=12)
    assert rows(found) == [greedy(model, row[row != PAD], 12) for row in source]


@pytest.mark.parametrize("beam", [1, 4])
def test_a_sentence_is_translated_alike_in_any_company(model, beam):
    source = sentences(*LENGTHS)
    settings = {"beam": beam, "length_penalty": 0.6, "max_length": 15}
    expected = rows(search(model, source, **settings))
    assert len({tuple(row) for row in expected}) > 4  # else it would show nothing
    for size in (1, 3, 5):
        found = []
        for part in source.split(size):
            longest = int((part != PAD).sum(dim=1).max())
            found += rows(search(model, part[:, :longest], **settings))
        assert found == expected
    wider = torch.nn.functional.pad(source, (0, 6), value=PAD)
    assert rows(search(model, wider, **settings)) == expected
    backwards = rows(search(model, source.flip(0), **settings))
    assert backwards[::-1] == expected


class Table:
    """A model whose next word depends on the last one and on the sentence's first word."""

    def __init__(self, words: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.logs = (2 * torch.randn(9, words, words, generator=random)).log_softmax(dim=-1)
        self.advanced = 0
        self.rows = []

    def start(self, source_BS, beam, max_length):
        self.sentences = len(source_BS)
        self.table = source_BS[:, 0].repeat_interleave(beam)
        return self

    def reorder(self, order_N) -> None:
        assert torch.equal(self.table[order_N], self.table)  # never into another sentence

    def keep(self, sentences_B) -> None:
        beam = len(self.table) // self.sentences
        self.sentences = len(sentences_B)
        self.table = self.table.view(-1, beam)[sentences_B].flatten()

    def advance(self, tokens_N, state):
        self.advanced += 1
        self.rows.append(len(tokens_N))
        return self.logs[self.table, tokens_N].clone()

    def score(self, table: int, said: tuple[int, ...], length_penalty: float) -> float:
        total = sum(float(self.logs[table, a, b]) for a, b in itertools.pairwise((BOS, *said)))
        return total / ((5 + len(said)) / 6) ** length_penalty


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_beam_wide_enough_finds_the_best_of_all(seed, length_penalty):
    words, longest = 6, 5  # UNK and two others may be said
    model = Table(words, seed)
    everything = [
        (*said, EOS)
        for length in range(longest)
        for said in itertools.product([1, 4, 5], repeat=length)
    ]
    assert len(everything) == sum(3**length for length in range(5))
    best = [
        max(everything, key=lambda said: model.score(table, said, length_penalty))
        for table in range(9)
    ]
    source = torch.arange(9)[:, None]
    found = search(
        model, source, beam=len(everything), length_penalty=length_penalty, max_length=longest
    )
    assert rows(found) == [list(said) for said in best]


def test_a_narrow_beam_scores_between_greedy_and_the_best():
    model, source = Table(12, seed=1), torch.arange(9)[:, None]
    scores = {}
    for beam in (1, 2, 4, 32):
        found = rows(search(model, source, beam=beam, length_penalty=0.0, max_length=6))
        scores[beam] = sum(model.score(table, tuple(said), 0.0) for table, said in enumerate(found))
    assert scores[1] < scores[4] <= scores[32]
    assert scores[1] <= scores[2]


def test_a_finished_hypothesis_wins_over_better_unfinished_beginnings():
    # Ending at once has log 0.4; going on begins with log 0.6 and then loses by every word.
    model = Table(6, seed=0)
    model.logs[:] = -math.inf
    model.logs[:, BOS, EOS], model.logs[:, BOS, 4] = math.log(0.4), math.log(0.6)
    model.logs[:, 4, [1, 4, 5, EOS]] = math.log(0.25)
    model.logs[:, [1, 5], 4] = 0.0
    found = search(model, torch.zeros(1, 1).long(), beam=2, length_penalty=0.0, max_length=10)
    assert rows(found) == [[EOS]]


def test_what_does_not_end_is_ended_at_the_last_word():
    model = Table(6, seed=0)
    model.logs[..., EOS] = -30.0
    found = search(model, torch.arange(3)[:, None], beam=2, length_penalty=0.6, max_length=7)
    assert [len(row) for row in rows(found)] == [7, 7, 7]


def test_a_sentence_that_is_done_costs_nothing_more():
    model = Table(6, seed=0)
    model.logs[..., EOS] = -30.0
    model.logs[:6, ..., EOS] = 30.0
    model.logs = model.logs.log_softmax(dim=-1)
    found = search(model, torch.arange(9)[:, None], beam=2, length_penalty=0.6, max_length=9)
    assert [len(row) for row in rows(found)] == [1] * 6 + [9] * 3
    assert model.rows == [18] * 4 + [6] * 5


@torch.no_grad()
def test_coverage_is_the_attention_that_source_words_got():
    model, source = MODELS["gnmt"](), sentences(5, 3)
    state = model.start(source, 2, 3)
    shares = []
    model.decoder.attention.register_forward_hook(lambda _module, _given, out: shares.append(out))
    for place in range(3):
        model.advance(prefixes(3, 3, 3, 3)[:, place], state)
    total = torch.stack(shares).sum(dim=0)  # [2 sentences, 2 beams, 5 positions]
    torch.testing.assert_close(total.sum(dim=-1), torch.full((2, 2), 3.0))
    assert not total[1, :, 3:].any()
    expected = [
        [sum(math.log(min(1.0, float(share))) for share in beam if share > 0) for beam in sentence]
        for sentence in total
    ]
    torch.testing.assert_close(state.coverage(), torch.tensor(expected))


def test_a_coverage_penalty_prefers_what_covers_the_source():
    # Ending at once is more probable; said in two words it covers more.
    model = Table(6, seed=0)
    model.logs[:] = -math.inf
    model.logs[:, BOS, [EOS, 4]] = torch.tensor([0.6, 0.4]).log()
    model.logs[:, [1, 4, 5], EOS] = 0.0
    model.coverage = lambda: torch.full((1, 2), -2.0 / model.advanced)
    settings = {"beam": 2, "length_penalty": 0.0, "max_length": 5}
    source = torch.zeros(1, 1).long()
    assert rows(search(model, source, **settings)) == [[EOS]]
    model.advanced = 0
    assert rows(search(model, source, coverage_penalty=0.5, **settings)) == [[4, EOS]]


def test_a_coverage_penalty_for_a_model_without_one_attention_is_refused():
    with pytest.raises(
        ConfigError, match=r"task\.coverage_penalty=0\.1 .*task\.coverage_penalty=0$"
    ):
        search(
            MODELS["transformer"](),
            sentences(3),
            beam=1,
            length_penalty=0.0,
            max_length=3,
            coverage_penalty=0.1,
        )


@pytest.mark.parametrize("beam", [1, 4])
def test_a_search_stops_when_no_sentence_can_do_better(beam):
    model = Table(6, seed=0)
    model.logs[..., EOS] = 8.0
    model.logs = model.logs.log_softmax(dim=-1)
    search(model, torch.arange(9)[:, None], beam=beam, length_penalty=0.6, max_length=200)
    assert model.advanced == 4  # the first look


def test_bf16_decodes_to_whole_translations(model):
    source = sentences(*LENGTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = search(model, source, beam=4, length_penalty=0.6, max_length=15)
    assert len(rows(found)) == len(LENGTHS)
    assert int(found.max()) < VOCABULARY


@pytest.mark.gpu
def test_a_gpu_finds_the_same_without_waiting_but_to_look(model):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    source = sentences(*LENGTHS)
    settings = {"beam": 4, "length_penalty": 0.6, "max_length": 3}  # ends before the first look
    expected = search(model, source, **settings)
    model, source = model.cuda(), source.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = search(model, source, **settings)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), expected)
