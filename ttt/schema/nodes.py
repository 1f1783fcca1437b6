"""The schemas by the names that YAML files build on, as `/schema/images@_here_`."""

from collections.abc import Mapping

from ttt.schema import launcher, optim, schedule, task, tracking
from ttt.schema.data import clicks, images, masked, text, tokens
from ttt.schema.model import bert, language, recommendation, translation
from ttt.schema.model import images as image_models
from ttt.schema.parallel import ParallelConfig
from ttt.schema.run import RunConfig

SCHEMAS: Mapping[str, type] = {
    "run": RunConfig,
    "images": images.ImageDataConfig,
    "masked": masked.MaskedDataConfig,
    "clicks": clicks.ClickDataConfig,
    "text": text.TextDataConfig,
    "tokens": tokens.TokensDataConfig,
    "resnet_small": image_models.ResNetSmallConfig,
    "resnet50": image_models.ResNet50Config,
    "transformer": translation.TransformerConfig,
    "bert": bert.BertConfig,
    "gnmt": translation.GnmtConfig,
    "dlrm_dcnv2": recommendation.DlrmDcnV2Config,
    "llama": language.LlamaConfig,
    "image_task": task.ImageTaskConfig,
    "translation_task": task.TranslationTaskConfig,
    "recommendation_task": task.RecommendationTaskConfig,
    "language_task": task.LanguageTaskConfig,
    "masked_language_task": task.MaskedLanguageTaskConfig,
    "sgd": optim.SgdConfig,
    "lars": optim.LarsConfig,
    "adam": optim.AdamConfig,
    "adamw": optim.AdamwConfig,
    "adagrad": optim.AdagradConfig,
    "lamb": optim.LambConfig,
    "polynomial": schedule.PolynomialConfig,
    "cosine": schedule.CosineConfig,
    "polynomial_steps": schedule.PolynomialStepsConfig,
    "onecycle": schedule.OneCycleConfig,
    "constant": schedule.ConstantConfig,
    "inverse_sqrt": schedule.InverseSqrtConfig,
    "gnmt_schedule": schedule.GnmtScheduleConfig,
    "warmup_cosine": schedule.WarmupCosineConfig,
    "local": launcher.LocalConfig,
    "torchrun": launcher.TorchrunConfig,
    "mpi": launcher.MpiConfig,
    "slurm": launcher.SlurmConfig,
    "parallel": ParallelConfig,
    "tracking": tracking.TrackingConfig,
    "wandb": tracking.WandbConfig,
}
