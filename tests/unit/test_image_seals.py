"""Before-images under data keys, and master keys that change while they are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.adapters import image_seals
from app.adapters.image_seals import ImageSeals, master_of
from app.adapters.master_keys import FileMasterKeys, make_master_key, master_key_files
from app.adapters.seal import DeploymentSeals, Seal
from app.core.command import Outcome, RefusalReason
from app.core.contract import EntityContract
from app.core.errors import ContractViolation, Undecodable, Unready
from app.core.undo import undo_of
from app.ports import KeyNotHeld
from tests.property.applier_world import ENTITY, World
from tests.signatures import ANNA, PlannedApplier, signed

PURPOSE = b"image:row"


class KeyService:
    """Master keys as a service holds them: it wraps and unwraps, and gives no key out."""

    def __init__(self) -> None:
        self.keys = ["arn:first"]
        self.wraps = 0
        self.answers = True

    def _asked(self) -> None:
        if not self.answers:
            raise Unready("the key service does not answer")

    def newest(self) -> bytes:
        """Return the id of the key that wraps now."""
        self._asked()
        return self.keys[-1].encode()

    def wrap(self, key_id: bytes, data_key: bytes) -> bytes:
        """Wrap a data key."""
        self._asked()
        self.wraps += 1
        return key_id + bytes(byte ^ 0x5A for byte in data_key)

    def unwrap(self, key_id: bytes, wrapped: bytes) -> bytes:
        """Unwrap a data key."""
        self._asked()
        if key_id.decode() not in self.keys:
            raise KeyNotHeld("the service has no such key")
        return bytes(byte ^ 0x5A for byte in wrapped.removeprefix(key_id))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with one master key."""
    make_master_key(tmp_path)
    return tmp_path


def test_an_image_opens_for_its_row_alone_and_shows_nothing(folder: Path) -> None:
    """Hidden, bound to its purpose, and never the same bytes twice."""
    seals = ImageSeals(FileMasterKeys(folder))
    sealed = seals.seal(PURPOSE, b"anna@example.com")
    assert b"anna" not in sealed
    assert sealed != seals.seal(PURPOSE, b"anna@example.com")
    assert ImageSeals(FileMasterKeys(folder)).open(PURPOSE, sealed) == b"anna@example.com"
    with pytest.raises(Undecodable, match="something else"):
        seals.open(b"image:other", sealed)


@pytest.mark.parametrize("at", [0, 1, 3, 10, 40, -1])
def test_one_bit_turned_does_not_open(folder: Path, at: int) -> None:
    """In the head, the wrapped key, the nonce or the text: nothing is guessed."""
    sealed = bytearray(ImageSeals(FileMasterKeys(folder)).seal(PURPOSE, b"an image"))
    sealed[at] ^= 1
    with pytest.raises(Undecodable):
        ImageSeals(FileMasterKeys(folder)).open(PURPOSE, bytes(sealed))


@pytest.mark.parametrize(
    "damage", [b"", b"\x02", b"\x02\xff", b"\x01" + bytes(60), b"\x02\x04keys\xff\xff" + bytes(60)]
)
def test_hostile_bytes_are_no_image(folder: Path, damage: bytes) -> None:
    """Refused before any key is looked for."""
    with pytest.raises(Undecodable, match="format"):
        ImageSeals(FileMasterKeys(folder)).open(PURPOSE, damage)


def test_a_new_master_key_seals_at_once_and_older_ones_go_on_opening(folder: Path) -> None:
    """Nobody restarts anything: the same process seals under the next key as soon as its file is there."""
    seals = ImageSeals(FileMasterKeys(folder))
    old = seals.seal(PURPOSE, b"old")
    made = make_master_key(folder)
    new = seals.seal(PURPOSE, b"new")
    assert (made.number, made.path.name, master_of(new)) == (2, "ledger.2.key", made.key_id)
    assert master_of(old) != master_of(new)
    assert [seals.open(PURPOSE, each) for each in (old, new)] == [b"old", b"new"]
    assert [key.number for key in master_key_files(folder)] == [2, 1]


def test_a_retired_master_key_takes_what_it_sealed_with_it(folder: Path) -> None:
    """That is told as a key that is not here, apart from a seal that is broken; what came later opens."""
    seals = ImageSeals(FileMasterKeys(folder))
    old = seals.seal(PURPOSE, b"old")
    make_master_key(folder)
    new = seals.seal(PURPOSE, b"new")
    (folder / "ledger.key").unlink()
    fresh = ImageSeals(FileMasterKeys(folder))
    with pytest.raises(KeyNotHeld, match=master_of(old).hex()):
        fresh.open(PURPOSE, old)
    assert fresh.open(PURPOSE, new) == b"new"
    # Its number does not come again.
    assert make_master_key(folder).number == 3


def test_a_folder_without_keys_is_waited_for_and_a_loose_one_refused(folder: Path) -> None:
    """A mount that went away may come back; a key that others may read is none."""
    seals = ImageSeals(FileMasterKeys(folder))
    path = folder / "ledger.key"
    path.chmod(0o644)
    with pytest.raises(ContractViolation, match="others may read"):
        master_key_files(folder)
    with pytest.raises(Unready, match="others may read"):
        seals.seal(PURPOSE, b"image")
    path.unlink()
    with pytest.raises(Unready, match="no master key"):
        seals.seal(PURPOSE, b"image")
    with pytest.raises(ContractViolation, match="no master key"):
        master_key_files(folder)


def test_a_key_service_is_asked_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data key seals so many images and no more, nor beyond a change of its master; while it is silent, we wait."""
    monkeypatch.setattr(image_seals, "IMAGES_PER_DATA_KEY", 3)
    service = KeyService()
    seals = ImageSeals(service)
    sealed = [seals.seal(PURPOSE, bytes([n])) for n in range(7)]
    assert service.wraps == 3
    service.keys.append("arn:second")
    sealed.append(seals.seal(PURPOSE, bytes([7])))
    assert service.wraps == 4
    assert [master_of(each) for each in sealed[6:]] == [b"arn:first", b"arn:second"]
    assert [ImageSeals(service).open(PURPOSE, each) for each in sealed] == [bytes([n]) for n in range(8)]
    service.answers = False
    with pytest.raises(Unready):
        seals.seal(PURPOSE, b"image")
    with pytest.raises(Unready):
        ImageSeals(service).open(PURPOSE, sealed[0])


def test_an_undo_without_the_master_key_is_held_until_it_is_brought_back() -> None:
    """A refusal would be for ever, though the key may only be on another host."""
    service, world = KeyService(), World("new", "old")

    def applier() -> PlannedApplier:
        return replace(world.applier(), seals=DeploymentSeals(Seal([b"s" * 32]), ImageSeals(service)))

    command = world.command("old", "new")
    assert applier().carry_out(command).outcome is Outcome.APPLIED
    row = world.target.ledger[command.command_id]
    undo = signed(undo_of(row, EntityContract(ENTITY, 1, 1, (), (), "shop", (), ()), 1_000, 3_600_000), ANNA)
    service.keys = ["arn:second"]
    held = applier().apply(undo, 0)
    assert (held.outcome, held.reason) == (Outcome.HELD, RefusalReason.KEY_NOT_HELD)
    assert world.value(world.target) == "new"
    service.keys.append("arn:first")
    assert applier().apply(undo, 0).outcome is Outcome.APPLIED
    assert world.value(world.target) == "old"
