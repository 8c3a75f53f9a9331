"""A few graphs in ComfyUI's API form, to try native calls with.

Owns: GRAPHS, made of the classes in `nodes.py` alone. Where a graph names a file, the name is the editor's example:
it has to be set to an upload's before the graph can be submitted.
"""

from collections.abc import Mapping
from typing import Any, Final


def _node(class_type: str, title: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": title}}


def _sampled(**latent: Any) -> dict[str, Any]:
    """The nodes from a checkpoint to a picture at node 8, around the latent picture that is given."""
    return {
        "3": _node(
            "KSampler", "KSampler 🎨", seed=42, steps=20, cfg=7.5, sampler_name="euler", scheduler="normal",
            denoise=0.6, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
        ),
        "4": _node("CheckpointLoaderSimple", "Load Checkpoint", ckpt_name="sandbox.safetensors"),
        "5": latent,
        "6": _node("CLIPTextEncode", "正向提示词 Prompt", text="an oil painting", clip=["4", 1]),
        "7": _node("CLIPTextEncode", "反向提示词 Negative", text="", clip=["4", 1]),
        "8": _node("VAEDecode", "VAE Decode", samples=["3", 0], vae=["4", 2]),
    }  # fmt: skip


GRAPHS: Final[Mapping[str, Mapping[str, Any]]] = {
    # A picture, made larger and painted over: 73.image, 3.seed, 6.text.
    "upscale": {
        **_sampled(**_node("VAEEncode", "VAE Encode", pixels=["74", 0], vae=["4", 2])),
        "73": _node("LoadImage", "Load Image 加载图像", image="example.png"),
        "74": _node("ImageScaleBy", "Upscale Image By", image=["73", 0], upscale_method="lanczos", scale_by=2.0),
        "9": _node("SaveImage", "Save Image 保存图像", images=["8", 0], filename_prefix="upscale"),
    },
    # A person of a picture (10.image) dances as in a video (20.video).
    "dance": {
        "10": _node("LoadImage", "Load Image 加载图像", image="example.png"),
        "20": _node("VHS_LoadVideo", "Load Video 🎥🅥🅗🅢", video="example.mp4", force_rate=0, frame_load_cap=0),
        "30": _node("ImageBlend", "Blend", image1=["10", 0], image2=["20", 0], blend_factor=0.5, blend_mode="normal"),
        "81": _node(
            "VHS_VideoCombine", "Video Combine 🎥🅥🅗🅢", images=["30", 0], audio=["20", 2], frame_rate=25, loop_count=0,
            filename_prefix="dance", format="video/h264-mp4", pingpong=False, save_output=True,
        ),
    },
    # A text alone (6.text) becomes a picture.
    "poster": {
        **_sampled(**_node("EmptyLatentImage", "Empty Latent", width=1024, height=768, batch_size=1)),
        "9": _node("SaveImage", "Save Image 保存图像", images=["8", 0], filename_prefix="poster"),
    },
}  # fmt: skip
