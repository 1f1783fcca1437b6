"""What a model says of how it may be cut is true of it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ttt.models.bert import Bert
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.models.gnmt import Gnmt
from ttt.models.resnet50 import ResNet50
from ttt.models.resnet_small import ResNetSmall
from ttt.models.transformer import Transformer

TABLES = dict(dim=4, bottom=[4], cross_layers=1, cross_rank=2, top=[1])
MODELS = {
    "bert": lambda: Bert(
        vocabulary=9, layers=2, width=8, heads=2, feedforward=12, positions=6, segments=2
    ),
    "dlrm": lambda: DlrmDcnV2(2, [5, 6], [1, 1], **TABLES),
    "spread dlrm": lambda: DlrmDcnV2(2, [5, 6], [1, 1], sharding="auto", **TABLES),
    "gnmt": lambda: Gnmt(vocabulary=9, layers=3, width=4),
    "resnet50": lambda: ResNet50(3),
    "resnet_small": lambda: ResNetSmall(3, [4, 8], [1, 2]),
    "transformer": lambda: Transformer(
        vocabulary=9, encoder_layers=2, decoder_layers=3, width=8, heads=2, feedforward=12
    ),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]()


def test_every_name_is_a_module_and_no_unit_is_in_another(model):
    plan = model.plan()
    for name in (*plan.units, *plan.tensor, *plan.swap):
        model.get_submodule(name)
    assert len(set(plan.units)) == len(plan.units)
    for unit in plan.units:
        assert not [other for other in plan.units if other.startswith(f"{unit}.")]


@pytest.mark.parametrize("name", ["bert", "gnmt", "resnet50", "transformer"])
def test_units_hold_most_of_the_weights_that_are_no_embedding(name):
    model = MODELS[name]()
    inside = [model.get_submodule(unit).parameters() for unit in model.plan().units]
    units = sum(weight.numel() for weights in inside for weight in weights)
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    every = sum(weight.numel() for weight in model.parameters())
    assert units > 0.8 * (every - sum(table.weight.numel() for table in tables))


def test_tables_are_swapped_only_where_they_wait_for_it():
    assert not MODELS["dlrm"]().plan().swap
    waiting = MODELS["spread dlrm"]()
    assert list(waiting.plan().swap) == ["tables"]
    assert waiting.tables.weight.is_meta


@pytest.mark.parametrize(("name", "networks"), [("bert", 2), ("transformer", 5)])
def test_parts_of_a_network_by_columns_and_rows_add_up(name, networks):
    """Of each pair, half of the inner width on each of two processes; a row's bias counts once."""
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    styles = model.plan().tensor
    firsts = [name for name, style in styles.items() if style == "column"]
    assert len(firsts) == networks
    assert len(styles) == 2 * networks
    for of_first in firsts:
        network = model.get_submodule(of_first.rpartition(".")[0])
        first, *between, last = network
        assert styles[f"{of_first.rpartition('.')[0]}.{len(network) - 1}"] == "row"
        x = torch.randn(3, first.in_features)
        total = last.bias
        for half in torch.arange(first.out_features).chunk(2):
            inner = F.linear(x, first.weight[half], first.bias[half])
            total = total + F.linear(nn.Sequential(*between)(inner), last.weight[:, half])
        torch.testing.assert_close(total, network(x))
