"""What other programs put beside files, and the names that only look like theirs."""

import pytest

from tfbundle.checkpoint.find.names import is_sidecar, is_sidecar_folder

MEMBERS = [
    "model.ckpt-7.index",
    "model.ckpt-7.data-00000-of-00001",
    "checkpoint",
    "events.out.tfevents.1700000000.host",
]


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize(
    "form",
    [
        "._{}",
        ".{}.crc",
        ".{}.XyZ123",
        ".{}.~1a2b",
        ".{}.icloud",
        ".{}.swp",
        ".syncthing.{}.tmp",
        "~syncthing~{}.tmp",
        ".#{}",
        "#{}#",
        "{}~",
        "{}_.gstmp",
        "{}.gstmp",
        "{}._COPYING_",
        "{}.C5dA9b1F",
        "{}.part",
        "{}.partial",
        "{}.filepart",
        "{}.crdownload",
        "{}.download",
        "{}.incomplete",
        "{}.aria2",
        "{}.tmp",
        "{}.tempstate1234567890",
        "{}:Zone.Identifier",
        "{}.sb-1234abcd-xYz123",
        ".pending-1700000000-{}",
        ".trashed-1700000000-{}",
        "~${}",
    ],
)
def test_sidecars(form: str, name: str) -> None:
    assert is_sidecar(form.format(name))


@pytest.mark.parametrize(
    "name",
    [
        *MEMBERS,
        "",
        ".index",
        ".data-00000-of-00001",
        ".meta",
        ".hidden.index",
        ".pending-x-model.index",
        "model.sb-1234abcd-xYz1234",
        ".hidden.data-00003-of-00008",
        "_.index",
        "model.part.index",
        "model.tmp.data-00000-of-00001",
        "model.ckpt-7",
        "model-00000-of-00002",
        "events.out.tfevents.1700000000.0123456789ab",
        "events.out.tfevents.1700000000.deadbeef",  # Eight digits of one case may be a host.
        "events.out.tfevents.1700000000.DEADBEEF",
        "events.out.tfevents.1700000000.12345678",
        "events.out.tfevents.1700000000.Abcdef0",
        "events.out.tfevents.1700000000.Abcdef012",
        "events.out.tfevents.1700000000.host.1.0.v2",
        "events.out.tfevents.1700000000.host.profile-empty",
        "events.out.tfevents.1700000000.part.1",
        "tempstate",
    ],
)
def test_what_is_none(name: str) -> None:
    assert not is_sidecar(name)


def test_folders() -> None:
    for name in (
        "__MACOSX",
        ".AppleDouble",
        "@eaDir",
        ".Trash-1000",
        ".~tmp~",
        "#recycle",
        "@Recycle",
        ".snapshot",
        ".git",
    ):
        assert is_sidecar_folder(name)
    for name in ("train", ".hidden", "MACOSX", "Trash", "recycle", "snapshot", ".gitlab", "#1"):
        assert not is_sidecar_folder(name)
