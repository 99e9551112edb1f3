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
        *("{}.TMP", "{}.tmp12345", "{}.tmp-9f3", "{}.temp", "{}.inprogress", "{}.uploading", "{}.mega", "{}.xltd"),
        *("{}.drivedownload", "{}.tmp.driveupload", "{}.nextcloud", "{}.cloudf", "{}.rsls", "{}.rclonelink"),
        *("{}.sync-conflict-20240102-101010-ABCDEFG", "{} (Jo's conflicted copy 2024-01-02)", "{} [conflicted]"),
        *("{} (SFConflict jo@host 2024-01-02-10-10-10)", "{}.lock", "{}.LCK", "{}.bak", "{}.orig", "{}.swo"),
        *("{}.kate-swp", "{}.DS_Store", "{}:com.apple.quarantine", "{}:AFP_AfpInfo:$DATA", "{}:SmartScreen"),
        *("{}.lnk", "{}.webloc", "{}.md5", "{}.SHA256", "{}.crc32c", "{}.asc", "{}.torrent", "{}.dvc"),
        *(".nfs00000000012ab34f00000001", ".fuse_hidden0000000100000001", ".~lock.{}#", ".goutputstream-A1B2C3"),
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
        "events.out.tfevents.1700000000.host.local",
        "events.out.tfevents.1700000000.tmp-lab",
        "events.out.tfevents.1700000000.host.lockhart",
        "events.out.tfevents.1700000000.host (1)",
        "model.lock.index",
        "model.tmp12.index",
        "conflict.index",
        "model (conflict).index",
        "model.sync-conflict.index",
    ],
)
def test_what_is_none(name: str) -> None:
    assert not is_sidecar(name)


@pytest.mark.parametrize("mark", [" (Jo's conflicted copy 2024-01-02)", ".sync-conflict-20240102-101010-ABCDEFG"])
def test_conflicts_before_the_extension(mark: str) -> None:
    for start, extension in (name.rsplit(".", 1) for name in MEMBERS if "." in name):
        assert is_sidecar(f"{start}{mark}.{extension}")


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
        *(".trash", "$Recycle.Bin", ".Trashes", "@Recycle", "Temporary Items", "~snapshot", ".dvc", "_temporary"),
        *(".tmp.drivedownload", ".SyncArchive", ".bzr"),
    ):
        assert is_sidecar_folder(name)
    for name in ("train", ".hidden", "MACOSX", "Trash", "recycle", "snapshot", ".gitlab", "#1", "recycler", "sync"):
        assert not is_sidecar_folder(name)
