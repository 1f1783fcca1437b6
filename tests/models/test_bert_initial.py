"""Starting from checkpoints of TensorFlow's and PyTorch's forms, made up here."""

import struct

import pytest
import torch

from ttt.errors import DataError
from ttt.models.bert import Bert
from ttt.models.bert_names import sources

SIZES = dict(vocabulary=9, layers=1, width=4, heads=2, feedforward=6, positions=5)


def varint(number):
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries):
    """With shared beginnings, as TensorFlow writes it, and one restart."""
    content, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value))
        content += key[shared:] + value
        before = key
    return content + struct.pack("<II", 0, 1)


def write(name, tensors):
    data, entries = b"", [(b"", field(1, 1))]
    for key, tensor in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, size)) for size in tensor.shape)
        content = tensor.contiguous().numpy().tobytes()
        entry = field(1, 1) + field(2, shape) + field(4, len(data)) + field(5, len(content))
        entries.append((key.encode(), entry))
        data += content
    table, places = b"", []
    for piece in (entries[:7], entries[7:]):
        written = block(piece)
        places.append((piece[-1][0], varint(len(table)) + varint(len(written))))
        table += written + bytes(5)
    index = block(places)
    footer = varint(0) + varint(0) + varint(len(table)) + varint(len(index))
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    table += index + bytes(5) + footer.ljust(40, b"\0") + magic
    name.with_name(f"{name.name}.index").write_bytes(table)
    name.with_name(f"{name.name}.data-00000-of-00001").write_bytes(data)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Bert(**SIZES)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    return model


def tensorflow(model):
    weights = model.state_dict()
    return {
        source.tensorflow: weights[name].T if source.transposed else weights[name]
        for name, source in sources(1).items()
    }


def same(one, two):
    return all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


@pytest.mark.parametrize("typed", ["model.ckpt", "model.ckpt.index"])
def test_from_tensorflow(model, tmp_path, typed):
    write(tmp_path / "model.ckpt", tensorflow(model) | {"global_step/m": torch.zeros(2)})
    assert same(Bert(**SIZES, initial=str(tmp_path / typed)), model)


@pytest.mark.parametrize("within", [None, "model"])
def test_from_pytorch(model, tmp_path, within):
    weights = model.state_dict()
    tensors = {source.torch: weights[name] for name, source in sources(1).items()}
    torch.save({within: tensors} if within else tensors, tmp_path / "model.pt")
    assert same(Bert(**SIZES, initial=str(tmp_path / "model.pt")), model)


def test_of_another_network(model, tmp_path):
    write(tmp_path / "ckpt", tensorflow(model))
    with pytest.raises(DataError, match=r"not \(10, 4\).*another network"):
        Bert(**(SIZES | {"vocabulary": 10}), initial=str(tmp_path / "ckpt"))
    with pytest.raises(DataError, match="has no weights bert/encoder/layer_1"):
        Bert(**(SIZES | {"layers": 2}), initial=str(tmp_path / "ckpt"))


@pytest.mark.parametrize("name", ["absent", "absent.pt"])
def test_absent(tmp_path, name):
    with pytest.raises(DataError, match=r"model\.initial=FILE"):
        Bert(**SIZES, initial=str(tmp_path / name))


@pytest.mark.parametrize("cut", [0, 40, 200])
def test_damaged(model, tmp_path, cut):
    write(tmp_path / "ckpt", tensorflow(model))
    index = tmp_path / "ckpt.index"
    index.write_bytes(index.read_bytes()[cut or 9 : -8 if cut else None])
    with pytest.raises(DataError, match="no index of a TensorFlow checkpoint"):
        Bert(**SIZES, initial=str(tmp_path / "ckpt"))


def test_data_cut_short(model, tmp_path):
    write(tmp_path / "ckpt", tensorflow(model))
    data = tmp_path / "ckpt.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut short"):
        Bert(**SIZES, initial=str(tmp_path / "ckpt"))
