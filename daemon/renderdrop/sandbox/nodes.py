"""The ComfyUI node classes that the sandbox knows: what each takes, and what it gives.

Owns: the words input and node class, and the table NODES. Data alone, so that a test can register more
(`SandboxOptions.nodes`). Only the names and the kinds are ComfyUI's; what a node would compute is nobody's
business here. Must never judge a graph (`graphs.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

InputKind = Literal["link", "image", "video", "audio", "text", "int", "float", "bool"]
Saves = Literal["", "image", "video", "audio", "preview"]
_KINDS: Final[Mapping[str, InputKind]] = {
    "link": "link", "image": "image", "video": "video", "audio": "audio",
    "text": "text", "int": "int", "float": "float", "bool": "bool",
}  # fmt: skip
UPLOADED: Final = frozenset({"image", "video", "audio"})
"""Kinds whose value is the name of an upload."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a node: a link to another node, the name of an upload, or a scalar (or a link in its place)."""

    kind: InputKind
    optional: bool = False


@dataclass(frozen=True, slots=True)
class NodeClass:
    """A class of nodes. `saves`: what its row holds; "preview" saves nothing, but is an end of the graph."""

    inputs: Mapping[str, Input]
    outputs: int = 1
    saves: Saves = ""

    def loads(self) -> bool:
        """Whether it is one that brings an upload in; such a node has to name one, by whichever input."""
        return any(wanted.kind in UPLOADED for wanted in self.inputs.values())


def node(outputs: int = 1, saves: Saves = "", **inputs: str) -> NodeClass:
    """A class in one line: `node(1, image="link", width="int", crop="text?")`; `?` means optional."""
    read = {name: Input(_KINDS[kind.rstrip("?")], kind.endswith("?")) for name, kind in inputs.items()}
    return NodeClass(read, outputs, saves)


NODES: Final[Mapping[str, NodeClass]] = {
    # What comes in. LoadVideo names its file by `file` in ComfyUI itself, by `video` in older packs.
    "LoadImage": node(2, image="image", upload="text?"),
    "LoadImageMask": node(1, image="image", channel="text?", upload="text?"),
    "LoadVideo": node(1, file="video?", video="video?", upload="text?"),
    "VHS_LoadVideo": node(
        4, video="video", force_rate="float?", custom_width="int?", custom_height="int?", frame_load_cap="int?",
        skip_first_frames="int?", select_every_nth="int?", format="text?",
    ),
    "LoadAudio": node(1, audio="audio", upload="text?"),
    # What happens to it.
    "CheckpointLoaderSimple": node(3, ckpt_name="text"),
    "LoraLoader": node(
        2, model="link", clip="link", lora_name="text", strength_model="float?", strength_clip="float?",
    ),
    "UpscaleModelLoader": node(1, model_name="text"),
    "CLIPTextEncode": node(1, text="text", clip="link?"),
    "EmptyLatentImage": node(1, width="int", height="int", batch_size="int?"),
    "KSampler": node(
        1, model="link", positive="link", negative="link", latent_image="link", seed="int", steps="int?", cfg="float?",
        sampler_name="text?", scheduler="text?", denoise="float?",
    ),
    "VAELoader": node(1, vae_name="text"),
    "VAEDecode": node(1, samples="link", vae="link"),
    "VAEEncode": node(1, pixels="link", vae="link"),
    "ImageScale": node(1, image="link", width="int", height="int", upscale_method="text?", crop="text?"),
    "ImageScaleBy": node(1, image="link", scale_by="float", upscale_method="text?"),
    "ImageUpscaleWithModel": node(1, upscale_model="link", image="link"),
    "ImageBlend": node(1, image1="link", image2="link", blend_factor="float", blend_mode="text?"),
    "ImageBlur": node(1, image="link", blur_radius="int", sigma="float?"),
    "ImageInvert": node(1, image="link"),
    "GetVideoComponents": node(3, video="link"),
    "CreateVideo": node(1, images="link", fps="float", audio="link?"),
    "PrimitiveInt": node(1, value="int"),
    "PrimitiveFloat": node(1, value="float"),
    "PrimitiveString": node(1, value="text"),
    # What goes out.
    "SaveImage": node(0, "image", images="link", filename_prefix="text?"),
    "PreviewImage": node(0, "preview", images="link"),
    "SaveVideo": node(0, "video", video="link", filename_prefix="text?", format="text?", codec="text?"),
    "VHS_VideoCombine": node(
        1, "video", images="link", audio="link?", meta_batch="link?", vae="link?", frame_rate="float?",
        loop_count="int?", filename_prefix="text?", format="text?", pingpong="bool?", save_output="bool?",
        pix_fmt="text?", crf="int?", save_metadata="bool?", trim_to_audio="bool?",
    ),
    "SaveAudio": node(0, "audio", audio="link", filename_prefix="text?"),
}  # fmt: skip
