"""The schemas by the names that YAML files build on, as `/schema/images@_here_`."""

from collections.abc import Mapping

from ttt.schema import (
    clicks,
    launchers,
    parts,
    recommendation_models,
    text,
    tracking,
    translation_models,
)
from ttt.schema.run import RunConfig

SCHEMAS: Mapping[str, type] = {
    "run": RunConfig,
    "images": parts.ImageDataConfig,
    "resnet_small": parts.ResNetSmallConfig,
    "resnet50": parts.ResNet50Config,
    "image_task": parts.ImageTaskConfig,
    "clicks": clicks.ClickDataConfig,
    "recommendation_task": clicks.RecommendationTaskConfig,
    "text": text.TextDataConfig,
    "translation_task": text.TranslationTaskConfig,
    "sgd": parts.SgdConfig,
    "lars": parts.LarsConfig,
    "polynomial": parts.PolynomialConfig,
    "cosine": parts.CosineConfig,
    "onecycle": parts.OneCycleConfig,
    "transformer": translation_models.TransformerConfig,
    "gnmt": translation_models.GnmtConfig,
    "adam": translation_models.AdamConfig,
    "inverse_sqrt": translation_models.InverseSqrtConfig,
    "gnmt_schedule": translation_models.GnmtScheduleConfig,
    "dlrm_dcnv2": recommendation_models.DlrmDcnV2Config,
    "adagrad": recommendation_models.AdagradConfig,
    "constant": recommendation_models.ConstantConfig,
    "local": launchers.LocalConfig,
    "torchrun": launchers.TorchrunConfig,
    "mpi": launchers.MpiConfig,
    "slurm": launchers.SlurmConfig,
    "tracking": tracking.TrackingConfig,
}
