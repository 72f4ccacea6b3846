"""What seals keys and before-images in tests."""

from __future__ import annotations

from app.adapters.seal import DeploymentSeals, Seal

SEALS = DeploymentSeals(Seal([b"s" * 32]), Seal([b"l" * 32]))
