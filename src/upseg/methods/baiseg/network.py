"""The network: a backbone at several scales, and two branches, for the classes and for the boundaries of instances."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from upseg.layers.multi_scale import MultiScaleFeatures
from upseg.methods.baiseg.equations import mutual_attention
from upseg.methods.baiseg.settings import BaisegSettings

ATROUS_RATES = (12, 24, 36)
"""Of DeepLabv3's head at a resolution of 8 pixels."""


class BaisegNetwork(nn.Module):
    """Image → the boundary map and, with a semantic branch, the classes, both at the image's size.

    Paper: Sec. 3.1 and Fig. 2 (a). Images are padded at the bottom and on the right for the backbone; maps are enlarged
    bilinearly, each value in the middle of the square of pixels that it stands for, and what lies in the padding is cut
    off. So pixel (i, j) of a map is pixel (i, j) of the image.

    Args:
        settings: Of the method.
        classes: C, how many the semantic branch tells apart. Without such a branch it does not count.
        pretrained: Whether the backbone starts from published weights, downloaded once.

    Raises:
        ModelError: If there is no such backbone, or its weights cannot be had.
        ValueError: If there is no class for the semantic branch, or the backbone does not give maps of the settings'
            resolutions.
    """

    def __init__(self, settings: BaisegSettings, classes: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.features = MultiScaleFeatures(
            settings.backbone, settings.width, settings.resolution, pretrained=pretrained, levels=settings.levels
        )
        self.boundary = BoundaryModule(
            self.features.channels,
            settings.hidden,
            settings.cascade,
            fusion=settings.fusion,
            attention=settings.attention,
            tapped=settings.contrast_module,
        )
        self.projection: nn.Module | None = None
        if settings.contrast_dimensions:
            last = nn.Conv2d(settings.hidden, settings.contrast_dimensions, 1)
            mlp = settings.contrast_projection == "mlp"
            self.projection = nn.Sequential(convolution(settings.hidden, settings.hidden, 1), last) if mlp else last
        self.semantic: SemanticBranch | None = None
        if settings.semantic_width is not None:
            self._check_semantic(classes)
            reduction = settings.semantic_resolution // settings.resolution
            self.semantic = SemanticBranch(
                self.features.channels, settings.semantic_width, classes, reduction=reduction
            )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b _ _ _"]]:
        """Compute the maps.

        Args:
            images: (B, 3, H, W) RGB values in [0, 1], of any size from 1x1 up.

        Returns:
            `boundary`: (B, 1, H, W) logits. `semantic`: (B, C, H, W) logits, where there is a semantic branch.
            `projection`, in training alone and with `contrast_dimensions` above 0: (B, d, h, w) raw values at the
            resolution of the features, of the padded image.
        """
        size = (images.shape[-2], images.shape[-1])
        features = torch.cat(list(self.features(images)), dim=1)  # Eq. 8, (B, D, h, w)
        boundary, local = self.boundary(features)  # (B, 1, h, w), (B, hidden, h, w)
        maps = {"boundary": at_image(boundary, self.settings.resolution, size)}
        if self.semantic is not None:
            maps["semantic"] = at_image(self.semantic(features), self.settings.semantic_resolution, size)
        if self.training and self.projection is not None:
            maps["projection"] = self.projection(local)
        return maps

    def _check_semantic(self, classes: int) -> None:
        if classes < 1:
            raise ValueError(f"the semantic branch needs at least 1 class, got {classes}; give the data's categories")
        multiple = self.features.backbone.multiple
        if self.settings.semantic_resolution > multiple:  # batch normalisation needs more than one value per channel
            raise ValueError(
                f"semantic_resolution must be at most {multiple}, the coarsest of {self.settings.backbone}, "
                f"got {self.settings.semantic_resolution}"
            )


class BoundaryModule(nn.Module):
    """Features of the backbone → logits of the instance-aware boundary map.

    Paper: Sec. 3.3 and Fig. 2 (b), IABM: R cascade fusion modules, and a 1x1 convolution. The logits of a new module
    are near 0, a probability of one half: the weights of Eq. 1 make boundaries count as much as all other pixels.

    Args:
        incoming: Channels of the features.
        hidden: C, of the modules.
        cascade: R, how many modules follow one another.
        fusion: Without it there are no modules, as in the paper's ablation: the boundary map is read off the features'
            1x1 convolution, with attention before it if that is on.
        attention: Whether there is deep mutual attention.
        tapped: The module, counted from 1, whose local features are given out.

    Raises:
        ValueError: If a number is below 1, or `tapped` is beyond the modules.
    """

    def __init__(
        self,
        incoming: int,
        hidden: int = 128,
        cascade: int = 4,
        *,
        fusion: bool = True,
        attention: bool = True,
        tapped: int = 1,
    ) -> None:
        super().__init__()
        if min(incoming, hidden, cascade) < 1 or not 1 <= tapped <= cascade:
            raise ValueError(
                "incoming, hidden and cascade must be at least 1, and tapped one of the modules, "
                f"got {incoming}, {hidden}, {cascade} and {tapped}"
            )
        self.tapped = tapped
        self.enter = nn.Conv2d(incoming, hidden, 1)
        self.attend: nn.Module = nn.Identity()
        if attention and not fusion:
            self.attend = DeepMutualAttention(hidden)
        count = cascade if fusion else 0
        self.stages = nn.ModuleList(
            CascadeFusionModule(hidden, attention=attention, last=number == count) for number in range(1, count + 1)
        )
        self.output = nn.Conv2d(hidden, 1, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        if self.output.bias is not None:
            nn.init.zeros_(self.output.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b d h w"]]:
        """Find boundaries.

        Args:
            features: (B, incoming, H, W), of any size from 1x1 up.

        Returns:
            (B, 1, H, W) logits of the boundary map, and the (B, hidden, H, W) local features after module `tapped`;
            without modules those that the map is read off.
        """
        context: Tensor = self.attend(self.enter(features))
        local: Tensor | None = None
        given = context
        for number, stage in enumerate(self.stages, start=1):
            context, local = stage(context, local)
            if number == self.tapped:
                given = local
        logits: Tensor = self.output(context if local is None else local)
        return logits, given


class CascadeFusionModule(nn.Module):
    """One stage of the boundary branch: attention on the local path, which the global path enters, then their fusion.

    Paper: Sec. 3.3.1, CFM: DMA, a 1x1 convolution, and FFM.

    Args:
        channels: C, of each path.
        attention: Whether there is deep mutual attention; else its convolution alone.
        last: Whether no module follows.
    """

    def __init__(self, channels: int, *, attention: bool = True, last: bool = False) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, channels, 1)
        self.attend = DeepMutualAttention(channels, attention=attention)
        self.fusion = FeatureFusion(channels, last=last)

    def forward(
        self, context: Float[Tensor, "b c h w"], local: Float[Tensor, "b c h w"] | None = None
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Refine both paths.

        Args:
            context: (B, C, H, W) features of the global path.
            local: (B, C, H, W) features of the local path; None before the first module, for zeros.

        Returns:
            Both paths' next features.
        """
        entering = self.enter(context)
        attended = self.attend(entering if local is None else local + entering)
        fused: tuple[Tensor, Tensor] = self.fusion(context, attended)
        return fused


class DeepMutualAttention(nn.Module):
    """A 3x3 convolution, batch normalisation and ReLU, then the mutual attention unit.

    Paper: Sec. 3.3.2 and Fig. 2 (c).

    Args:
        channels: Of the input and the output.
        attention: Without it only the convolution is left, as in the paper's ablation.
    """

    def __init__(self, channels: int, *, attention: bool = True) -> None:
        super().__init__()
        self.embedding = convolution(channels, channels)
        self.unit = MutualAttentionUnit(channels) if attention else nn.Identity()

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Embed and weigh (B, C, H, W) features; the result has the same shape."""
        attended: Tensor = self.unit(self.embedding(features))
        return attended


class MutualAttentionUnit(nn.Module):
    """Features beside themselves weighed by channel and by place, with a learned share.

    Paper: Eq. 2 to 5, Sec. 3.3.2 and Fig. 3. A new unit passes its input on unchanged: the 1x1 convolution of Eq. 4,
    "identity transformation" in the paper, starts as the identity, and the share β of the attention at 0.

    Args:
        channels: C, of the input and the output.
        reduction: How many times narrower than C the hidden layer of Eq. 2 is; it has at least 4 values.
        kernel: Side of the convolution of Eq. 3 in pixels, odd.

    Raises:
        ValueError: If `channels` or `reduction` is below 1, or `kernel` is even.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        if channels < 1 or reduction < 1 or kernel % 2 == 0:
            raise ValueError(
                f"channels and reduction must be at least 1 and kernel odd, got {channels}, {reduction} and {kernel}"
            )
        hidden = max(channels // reduction, 4)
        self.perceptron = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.places = nn.Conv2d(2, 1, kernel, padding=kernel // 2)
        self.identity = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1))
        nn.init.dirac_(self.identity.weight)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Weigh (B, C, H, W) features of any size from 1x1 up; the result has the same shape."""
        beta = self.beta.to(features.dtype)
        return mutual_attention(features, self.perceptron, self.places, self.identity, beta)  # Eq. 2 to 5


class FeatureFusion(nn.Module):
    """Global and local features see each other, and each path takes what it needs.

    Paper: Sec. 3.3.3, FFM; its figure is not in the text. Both paths, put side by side, pass a 3x3 convolution, batch
    normalisation and ReLU. The result is added to the local path, and through a 1x1 convolution to the global one. The
    last fusion of a cascade hands no global features on, and refines the local ones alone. So a module has the number
    of parameters that Tables 4 and 5 of the paper imply: 30 C² and a little for each module, 20 C² for one alone.

    Args:
        channels: C, of each path.
        last: Whether this is the last fusion of a cascade.
    """

    def __init__(self, channels: int, *, last: bool = False) -> None:
        super().__init__()
        self.fuse = convolution(channels if last else 2 * channels, channels)
        self.to_global = None if last else nn.Conv2d(channels, channels, 1)

    def forward(
        self, context: Float[Tensor, "b c h w"], local: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Fuse (B, C, H, W) features of the global path, `context`, and of the local one.

        Returns:
            Both paths' next features; after the last fusion the global ones are those that came in.
        """
        if self.to_global is None:
            return context, local + self.fuse(local)
        fused = self.fuse(torch.cat([context, local], dim=1))
        return context + self.to_global(fused), local + fused


class SemanticBranch(nn.Module):
    """Atrous spatial pyramid pooling and two convolutions: with 256 channels the head of DeepLabv3.

    Paper: Sec. 4.1 (Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017).

    Args:
        incoming: Channels of the features.
        width: Of the head.
        classes: C, of the logits.
        reduction: How many times, along one side, the features are reduced for the head, by their averages.
        rates: Of the atrous convolutions, in pixels of the reduced features.
    """

    def __init__(
        self, incoming: int, width: int, classes: int, *, reduction: int = 1, rates: tuple[int, ...] = ATROUS_RATES
    ) -> None:
        from torchvision.models.segmentation.deeplabv3 import ASPP, ASPPPooling

        super().__init__()
        self.reduction = reduction
        self.pyramid = ASPP(incoming, rates, out_channels=width)
        for module in self.pyramid.convs:
            if isinstance(module, ASPPPooling):
                module[2] = SmallBatchNorm(width)
        self.refine = convolution(width, width)
        self.output = nn.Conv2d(width, classes, 1)

    def forward(self, features: Float[Tensor, "b d h w"]) -> Float[Tensor, "b c h2 w2"]:
        """The logits (B, classes, H / reduction, W / reduction) of (B, D, H, W) features; sizes are rounded up."""
        if self.reduction > 1:  # what is beyond the last row and column does not count in the average
            features = F.avg_pool2d(features, self.reduction, ceil_mode=True, count_include_pad=False)
        logits: Tensor = self.output(self.refine(self.pyramid(features)))
        return logits


class SmallBatchNorm(nn.BatchNorm2d):
    """Batch normalisation that takes its running statistics where a batch has a single value for each channel.

    One value has no deviation, and torch refuses it in training. A batch of one image has no more after global pooling.
    """

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Normalise (B, C, H, W) features."""
        if features.numel() > features.shape[1]:
            return super().forward(features)
        return F.batch_norm(features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def at_image(
    logits: Float[Tensor, "b c h w"], resolution: int, size: tuple[int, int]
) -> Float[Tensor, "b c height width"]:
    """A map at the size of its image: enlarged bilinearly, without what lies in the padding.

    Args:
        logits: (B, C, H, W); each value is that of the middle of a square of the padded image.
        resolution: Side of such a square, in pixels.
        size: Height and width of the image, at most H and W times `resolution`.
    """
    covered = [side * resolution for side in logits.shape[-2:]]
    enlarged = F.interpolate(logits, size=covered, mode="bilinear", align_corners=False)
    return enlarged[..., : size[0], : size[1]]


def convolution(incoming: int, outgoing: int, side: int = 3) -> nn.Sequential:
    """A convolution with a kernel of an odd side, batch normalisation and ReLU; height and width stay."""
    weights = nn.Conv2d(incoming, outgoing, side, padding=side // 2, bias=False)  # the normalisation has a bias
    nn.init.kaiming_normal_(weights.weight, nonlinearity="relu")
    return nn.Sequential(weights, nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True))
