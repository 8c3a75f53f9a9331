"""A place with two existing share folders, a token and a home; settings are written as text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from renderdrop.model.errors import BrokenSettings
from renderdrop.settings import Loaded, load


@dataclass
class Place:
    TOKEN: ClassVar = "AI-0123456789abcdef"
    ROUTE: ClassVar = """
[routes.portrait]
folder = "portrait"
workflow_id = "1234"
clusters = ["GPU-4090", "GPU-A800"]
inputs = { input_image = "image" }
"""
    GRAPH: ClassVar = """
[routes.upscale]
kind = "graph"
folder = "portrait"
graph = "upscale_api.json"
clusters = ["GPU-4090"]
inputs = { "73.image" = "image" }
params = { "3.seed" = 42 }
matrix = { "3.cfg" = [7.0, 8.5] }
params_allowed = ["3.seed", "6.text"]
"""
    MODEL: ClassVar = """
[routes.repaint]
kind = "model"
folder = "portrait"
provider = "google"
model = "gemini"
type = "image2image"
inputs = { prompt = "text", images = "image" }
"""
    WITH_FILE: ClassVar = '[platform]\ntoken_file = "token"\n' + ROUTE

    root: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.root / "renderdrop.toml"

    def load(self, text: str | bytes = ROUTE, environ: Mapping[str, str] | None = None, **more: Any) -> Loaded:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(self.file, {**self.environ, **(environ or {})}, **more)

    def problems(
        self, text: str | bytes = ROUTE, environ: Mapping[str, str] | None = None, **more: Any
    ) -> dict[str, str]:
        """Key → message of everything wrong; fails when nothing is."""
        with pytest.raises(BrokenSettings) as caught:
            self.load(text, environ, **more)
        keys = [problem.key for problem in caught.value.problems]
        assert len(keys) == len(set(keys)), f"told twice: {keys}"
        return {problem.key: problem.message for problem in caught.value.problems}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("portrait", "dance", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "upscale_api.json").write_text("{}")
    return Place(tmp_path, {"RENDERDROP_TOKEN": Place.TOKEN, "HOME": str(tmp_path / "home")})
