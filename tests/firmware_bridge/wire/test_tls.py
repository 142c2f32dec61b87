"""TLS files become a context, or an error that names the file."""

import ssl
from pathlib import Path

import pytest

from firmware_bridge.wire.errors import InvalidValueError, StoreError
from firmware_bridge.wire.tls import TlsFiles
from tests.firmware_bridge.doctor.certificates import Authority


def test_without_files_the_system_decides() -> None:
    assert TlsFiles().context() is None


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="neither"):
        TlsFiles(certificate=tmp_path / "device.pem")


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_authority_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"ca\.pem"):
        TlsFiles(ca=path).context()


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    for name in ("device.pem", "device.key"):
        (tmp_path / name).write_bytes(b"nothing")
    files = TlsFiles(certificate=tmp_path / "device.pem", key=tmp_path / "device.key")
    with pytest.raises(StoreError, match=r"device\.pem.*device\.key"):
        files.context()


def test_a_good_authority_is_the_only_one_trusted(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("board-1")
    context = files.context()
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    trusted = [ssl.DER_cert_to_PEM_cert(each) for each in context.get_ca_certs(binary_form=True)]
    assert files.ca is not None
    assert trusted == [files.ca.read_text()]


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("board-1"), authority.issue("board-2")
    with pytest.raises(StoreError, match=r"board-1\.pem.*board-2\.key"):
        TlsFiles(one.ca, one.certificate, other.key).context()
