"""What is computed in which data type: the precision of a run is that of its largest tensors."""
# ruff: noqa: N803 - capital letters name dimensions

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from translators import gnmt, prefixes, sentences, transformer
from ttt.learner import set_arithmetic
from ttt.models.gnmt import NormedAttention, Source
from ttt.models.lstm import Lstm

LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


class LstmTypes(TorchFunctionMode):
    """Notes the data types of all that LSTM kernels are given."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") == "lstm":
            x, hidden, weights = args[:3]
            self.calls.append({tensor.dtype for tensor in (x, *hidden, *weights)})
        return func(*args, **(kwargs or {}))


class Made(TorchDispatchMode):
    """Notes the data types of tensors of at least some number of elements as memory is taken."""

    def __init__(self, elements):
        super().__init__()
        self._elements = elements
        self.dtypes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tensors_in(args)}
        for made in tensors_in(result if isinstance(result, (tuple, list)) else [result]):
            new = made.untyped_storage().data_ptr() not in given
            if new and made.numel() >= self._elements and made.is_floating_point():
                self.dtypes.append(made.dtype)
        return result


def tensors_in(values):
    return [value for value in values if isinstance(value, torch.Tensor)]


@pytest.fixture
def arithmetic():
    """Puts back what `set_arithmetic` sets."""
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
    before = cudnn.allow_tf32, cuda.matmul.allow_tf32, cudnn.benchmark, cuda.cudnn_sdp_enabled()
    yield
    cudnn.allow_tf32, cuda.matmul.allow_tf32, cudnn.benchmark = before[:3]
    cuda.enable_cudnn_sdp(before[3])


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_fp32_products_are_fp32_and_no_attention_is_planned_by_shape(precision, arithmetic):
    set_arithmetic(precision)
    assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert torch.backends.cudnn.allow_tf32 == (precision != "fp32")
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled()


@pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN:UserWarning")
@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_lstms_get_the_data_type_of_autocast(device, precision, monkeypatch):
    """CUDA tensors are fake: they have a device and a type and no values."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(Lstm, "reset_parameters", torch.nn.Module.eval)  # random numbers need a GPU
    with (
        FakeTensorMode(),
        torch.device(device),
        LstmTypes() as seen,
        torch.no_grad(),
        torch.autocast(device, dtype=LOWER[precision]),
    ):
        y, hidden = Lstm(6, 4)(torch.empty(3, 5, 6))
        Lstm(6, 4)(torch.empty(3, 5, 6), tuple(part.float() for part in hidden))
    assert seen.calls == [{LOWER[precision]}] * 2
    assert y.dtype == hidden[0].dtype == hidden[1].dtype == LOWER[precision]
    assert y.device.type == device


@pytest.mark.parametrize("precision", LOWER)
def test_every_lstm_of_gnmt_computes_in_the_precision_of_the_run(precision):
    model = gnmt().train()
    with LstmTypes() as seen, torch.autocast("cpu", dtype=LOWER[precision]):
        model(sentences(9, 4), prefixes(5, 7)).float().sum().backward()
    assert seen.calls == [{LOWER[precision]}] * sum(isinstance(m, Lstm) for m in model.modules())
    assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in model.parameters())
    with LstmTypes() as seen, torch.autocast("cpu", dtype=LOWER[precision]), torch.no_grad():
        state = model.start(sentences(9, 4), beam=2, max_length=5)
        model.advance(torch.ones(4, dtype=torch.int64), state)
    assert {dtype for call in seen.calls for dtype in call} == {LOWER[precision]}


def test_an_lstm_in_bf16_is_near_the_one_in_fp32():
    torch.manual_seed(0)
    lstm, x = Lstm(16, 8), torch.randn(4, 9, 16)
    results = []
    for enabled in (False, True):
        lstm.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y, (output, cell) = lstm(x)
        (y.float().square().sum() + cell.float().sum()).backward()
        assert torch.equal(output[0], y[:, -1])
        results.append([y.detach().float(), *(p.grad.clone() for p in lstm.parameters())])
    for exact, lowered in zip(*results, strict=True):
        torch.testing.assert_close(lowered, exact, rtol=0.05, atol=0.05 * float(exact.abs().max()))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", *LOWER])
def test_lstms_on_a_gpu_are_cudnns_and_near_those_of_the_cpu(precision, arithmetic):
    """A warning would say that cuDNN copies the weights: it is an error here."""
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    set_arithmetic(precision)
    torch.manual_seed(0)
    lstm, x = Lstm(128, 256), torch.randn(8, 20, 128)
    expected = lstm(x)[0]
    expected.square().mean().backward()
    grads = [p.grad.clone() for p in lstm.parameters()]
    lstm.zero_grad()
    lstm.cuda()
    dtype = LOWER.get(precision, torch.float32)
    with torch.autocast("cuda", dtype=dtype, enabled=precision in LOWER):
        y, _ = lstm(x.cuda())
    assert y.dtype == dtype
    if precision != "bf16" or torch.backends.cudnn.version() >= 91300:
        names, node = [], y.grad_fn
        while node is not None:
            names.append(node.name())
            node = next((one for one, _ in node.next_functions if one), None)
        assert any("CudnnRnn" in name for name in names), names
    y.float().square().mean().backward()
    tolerance = 1e-4 if precision == "fp32" else 0.03
    for exact, found in [
        (expected.detach(), y.detach()),
        *zip(grads, (p.grad for p in lstm.parameters()), strict=True),
    ]:
        atol = tolerance * float(exact.abs().max())
        torch.testing.assert_close(found.float().cpu(), exact, rtol=0, atol=atol)


class Choices(TorchFunctionMode):
    """Notes which kernels PyTorch takes for attention."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") == "scaled_dot_product_attention":
            self.found.add(SDPBackend(torch._fused_sdp_choice(*args, **(kwargs or {}))))
        return func(*args, **(kwargs or {}))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", LOWER)
def test_attention_on_a_gpu_takes_kernels_that_are_compiled_already(precision, arithmetic):
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    set_arithmetic(precision)
    model = transformer(width=128, heads=2).train().cuda()
    words = sentences(9, 4).cuda(), prefixes(5, 7).cuda()
    with torch.autocast("cuda", dtype=LOWER[precision]), Choices() as training:
        model(*words).float().sum().backward()
    model.eval()
    with torch.autocast("cuda", dtype=LOWER[precision]), torch.no_grad(), Choices() as decoding:
        state = model.start(words[0], beam=2, max_length=5)
        for _ in range(3):
            model.advance(torch.ones(4, dtype=torch.int64, device="cuda"), state)
    assert training.found == {SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION}
    assert decoding.found == {SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION}


def attention(B=2, T=7, S=5, D=8):
    torch.manual_seed(0)
    module = NormedAttention(D)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    values = torch.randn(B, S, D)
    words = torch.ones(B, 1, S, dtype=torch.bool)
    words[0, 0, 3:] = False
    return module, torch.randn(B, T, D), values, words


@pytest.mark.parametrize("precision", ["fp32", *LOWER])
def test_the_largest_tensor_of_gnmt_is_made_once_in_the_precision_of_the_run(precision):
    module, query, values, words = attention()
    dtype = LOWER.get(precision, torch.float32)
    with (
        torch.autocast("cpu", dtype=dtype, enabled=precision in LOWER),
        Made(2 * 7 * 5 * 8) as made,
    ):
        shares = module(query, Source(values, module.key(values), words))
    assert made.dtypes == [dtype]
    assert shares.dtype == torch.float32
    with Made(2 * 7 * 5 * 8) as made:
        shares.square().sum().backward()
    assert set(made.dtypes) <= {dtype}
    assert len(made.dtypes) <= 2


def test_attention_in_fp32_is_the_formula_to_the_last_bit():
    module, query, values, words = attention()
    actual = module(query, Source(values, module.key(values), words))
    inside = (module.query(query) + module.bias)[:, :, None] + module.key(values)[:, None]
    weight = module.direction * (module.length / module.direction.norm())
    scores = (inside.tanh() @ weight).masked_fill(~words, -torch.inf)
    assert torch.equal(actual, scores.softmax(dim=-1))


@pytest.mark.parametrize("make", [gnmt, partial(transformer, attention_dropout=0.0)])
def test_what_is_larger_than_the_embedded_words_is_in_the_precision_of_the_run(make):
    """Embedded words, the sums of the Transformer's residual layers and its norms are in fp32.

    So is attention with dropout on a CPU, which has no fused kernel for it.
    """
    model = make().train()
    source, target = sentences(9, 9, 9, 9), prefixes(8, 8, 8, 8)
    words = 4 * 9 * model.embedding.embedding_dim
    with torch.autocast("cpu", dtype=torch.bfloat16), Made(words + 1) as made:
        logits = model(source, target)
    assert logits.numel() > words
    assert set(made.dtypes) == {torch.bfloat16}
