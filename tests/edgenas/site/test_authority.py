"""What the authority signs, what it refuses to read, and what a second `init` keeps."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from edgenas.cli.main import main
from edgenas.site.access import SiteAccess
from edgenas.site.authority import (
    Authority,
    names_of,
    needs_renewal,
    now_utc,
    read_request,
    revoked_in,
)
from edgenas.site.errors import RequestRefusedError, SiteError
from edgenas.site.folder import SiteFolder, SiteSettings

NOW = now_utc()
PEM = serialization.Encoding.PEM


def request(*names: str, key: object = None, sign_with: object = None) -> bytes:
    """A signing request for these common names."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    everything = x509.BasicConstraints(ca=True, path_length=None)
    made = made.add_extension(everything, critical=True)
    return made.sign(key, hashes.SHA256()).public_bytes(PEM)  # type: ignore[arg-type]


def test_only_the_key_of_a_request_is_taken() -> None:
    authority = Authority.create("test", NOW)
    asked = read_request(request("board-1"))
    assert asked.name == "board-1"
    made = x509.load_pem_x509_certificate(authority.issue("board-7", asked.key, NOW).pem)
    assert made.subject.rfc4514_string() == "CN=board-7"
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not constraints.ca, "it asked for an authority's certificate"
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not usage.key_cert_sign
    assert made.not_valid_before_utc <= NOW - timedelta(hours=24), "a board's clock may be behind"
    assert made.not_valid_after_utc - NOW == timedelta(days=365)


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (b"", "expected PEM"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", "PEM"),
        (b"x" * 5000, "at most 4096"),
        (request(), "one common name"),
        (request("a-b", "c-d"), "one common name"),
        (request("board-1", key=rsa.generate_private_key(65537, 2048)), "P-256"),
        (request("board-1", key=ec.generate_private_key(ec.SECP384R1())), "P-256"),
    ],
    ids=["empty", "no request", "too long", "no name", "two names", "RSA", "P-384"],
)
def test_a_hostile_request_is_refused(pem: bytes, said: str) -> None:
    with pytest.raises(RequestRefusedError, match=said):
        read_request(pem)


def test_a_request_for_anothers_key_is_refused() -> None:
    mine = x509.load_pem_x509_csr(request("board-1")).public_bytes(serialization.Encoding.DER)
    theirs = x509.load_pem_x509_csr(request("board-1"))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = serialization.Encoding.DER
    own = x509.load_der_x509_csr(mine).public_key().public_bytes(der, form)
    stolen = mine.replace(own, theirs.public_key().public_bytes(der, form))
    forged = x509.load_der_x509_csr(stolen).public_bytes(PEM)
    with pytest.raises(RequestRefusedError, match="signed by its own key"):
        read_request(forged)


def test_each_list_of_revocations_is_younger_than_the_one_before() -> None:
    authority = Authority.create("test", NOW)
    first = authority.revocations({}, NOW)
    second = authority.revocations({"1f": NOW}, NOW, first)
    third = authority.revocations({"1f": NOW, "2f": NOW}, NOW - timedelta(days=3), second)
    dated = [x509.load_pem_x509_crl(pem).last_update_utc for pem in (first, second, third)]
    assert dated[0] < dated[1] < dated[2] <= NOW
    assert revoked_in(third) == {"1f": NOW, "2f": NOW}
    ends = x509.load_pem_x509_crl(third).next_update_utc
    assert ends is not None
    assert ends - NOW > timedelta(days=3000), "a list that expires would lock everybody out"


def test_an_authority_is_its_key_and_its_certificate(tmp_path: Path) -> None:
    one, other = Authority.create("one", NOW), Authority.create("other", NOW)
    again = Authority.load(one.key_pem, one.certificate_pem)
    assert again.certificate_pem == one.certificate_pem
    with pytest.raises(SiteError, match="got one for another"):
        Authority.load(one.key_pem, other.certificate_pem)
    with pytest.raises(SiteError, match="expected an authority's key"):
        Authority.load(b"no", one.certificate_pem)


def test_init_makes_a_folder_and_again_keeps_the_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["broker", "init", "--tls", str(tmp_path / "site"), "--user", "root"]
    assert main([*words, "--host", "broker.example,192.0.2.7"]) == 0
    assert "mqtts://broker.example:8883" in capsys.readouterr().out
    folder = SiteFolder(tmp_path / "site")
    before = (folder.path / "ca/ca.pem").read_bytes()
    server = (folder.broker / "server.pem").read_bytes()
    assert names_of(server) == ("broker.example", "192.0.2.7")
    for secret in ("ca/ca.key", "ca/revoked.json", "broker/server.key", "host/host.key"):
        assert stat.S_IMODE((folder.path / secret).stat().st_mode) == 0o600
    assert stat.S_IMODE((folder.path / "ca").stat().st_mode) == 0o700
    SiteAccess(folder.path).host()

    assert main([*words, "--host", "broker.example,192.0.2.7"]) == 0
    assert "none needed" in capsys.readouterr().out
    assert (folder.broker / "server.pem").read_bytes() == server
    assert main([*words, "--host", "other.example", "--port", "9999"]) == 0
    assert "certificates made: broker\n" in capsys.readouterr().out
    assert (folder.path / "ca/ca.pem").read_bytes() == before
    assert folder.settings.url == "mqtts://other.example:9999"


def test_what_is_past_two_thirds_or_cut_off_is_made_again(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path / "site")
    settings = SiteSettings(("127.0.0.1",), user="root")
    assert folder.prepare(settings, NOW - timedelta(days=480)).issued == (
        *("broker", "host", "viewer", "host_clerk"),
    )
    assert needs_renewal((folder.host / "host.pem").read_bytes(), NOW + timedelta(days=8))
    assert folder.prepare(settings, NOW - timedelta(days=1)).issued == ()
    assert folder.prepare(settings, NOW + timedelta(days=8)).issued == (
        *("broker", "host", "viewer", "host_clerk"),
    )
    other, key = folder.authority.issue_with_key("host", NOW, 1)
    (folder.host / "host.key").write_bytes(key)  # as a power cut between both files leaves it
    assert folder.prepare(settings, NOW).issued == ("host",)
    assert needs_renewal(other.pem, NOW + timedelta(hours=20))


def test_revoked_stays_revoked_and_denied_stays_denied(tmp_path: Path) -> None:
    folder = SiteFolder(tmp_path / "site")
    settings = SiteSettings(("127.0.0.1",), user="root")
    folder.prepare(settings, NOW)
    folder.revoke("board-1", ["1f"], NOW)
    folder.revoke("board-1", ["1f", "2f"], NOW + timedelta(hours=1))
    folder.prepare(settings, NOW)
    assert revoked_in((folder.broker / "crl.pem").read_bytes()) == {
        "1f": NOW,
        "2f": NOW + timedelta(hours=1),
    }
    assert "user board-1\ntopic deny #" in (folder.broker / "acl").read_text()
    folder.admit("board-1", ["1f", "2f", "3f"], NOW)
    assert "board-1" not in (folder.broker / "acl").read_text()
    assert set(revoked_in((folder.broker / "crl.pem").read_bytes())) == {"1f", "2f", "3f"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", ""], "expected names or addresses"),
        (["--host", "bad host"], "expected names or addresses"),
        (["--host", "a\nuser evil"], "expected names or addresses"),
        (["--host", "ok", "--port", "0"], "1 to 65535"),
        (["--host", "ok", "--user", "nobody-of-that-name"], "an account of this machine"),
    ],
)
def test_what_init_is_told_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["broker", "init", "--tls", str(tmp_path / "site"), *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_host_commands_say_what_their_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"without .*ca\.pem"):
        SiteAccess(tmp_path)
    with pytest.raises(SiteError, match="edgenas broker init"):
        _ = SiteFolder(tmp_path).settings
    folder = SiteFolder(tmp_path / "site")
    folder.prepare(SiteSettings(("127.0.0.1",), user="root"), NOW)
    assert SiteAccess(folder.path).site is not None
    copied = SiteAccess(folder.host)
    assert copied.site is None
    assert isinstance(copied.viewer(), ssl.SSLContext)
