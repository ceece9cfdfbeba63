"""Keys, tokens and certificates, made anew for every run, and what makes Envoy verify them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jwt
import rig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from fleet import Change

Claims = dict[str, Any]

# --- Tokens -----------------------------------------------------------------------------------


class Issuer:
    """Signs tokens with one algorithm; `jwks` is what verifies them."""

    def __init__(self, name: str, algorithm: str) -> None:
        self.name = name
        self.algorithm = algorithm
        self.key: Any
        if algorithm.startswith("HS"):
            self.key = hashlib.sha512(f"the secret of {name}".encode()).digest()
            public: dict[str, Any] = {"kty": "oct", "k": _base64(self.key)}
        elif algorithm.startswith("RS"):
            self.key = rsa.generate_private_key(65537, 2048)
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        elif algorithm == "EdDSA":
            self.key = ed25519.Ed25519PrivateKey.generate()
            public = jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.jwks = json.dumps({"keys": [{**public, "alg": algorithm, "kid": name, "use": "sig"}]})

    def token(self, claims: Claims, **header: Any) -> str:
        """A token with these claims, valid for an hour unless they say otherwise."""
        every = {"iss": self.name, "aud": "mcp", "exp": int(time.time()) + 3600, **claims}
        present = {name: value for name, value in every.items() if value is not None}
        # PyJWT insists on texts where Envoy does not, so the payload is written here.
        payload = json.dumps(present).encode()
        return jwt.api_jws.encode(payload, self.key, self.algorithm, {"kid": self.name, **header})

    def provider(self, payload: str = "jwt_payload", **settings: Any) -> rig.Config:
        """A provider of jwt_authn for this issuer."""
        return {
            "issuer": self.name,
            "audiences": ["mcp"],
            "local_jwks": {"inline_string": self.jwks},
            "payload_in_metadata": payload,
            "forward": True,
            **settings,
        }


def unsigned(claims: Claims, algorithm: str = "none", signature: str = "") -> str:
    """A token that nobody signed."""
    head = json.dumps({"alg": algorithm, "typ": "JWT"}).encode()
    return ".".join([_base64(head), _base64(json.dumps(claims).encode()), signature])


def confused(claims: Claims, issuer: Issuer) -> str:
    """A token signed with an issuer's public key as if that were a shared secret."""
    public = issuer.key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = _base64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": issuer.name}).encode())
    signed = f"{head}.{_base64(json.dumps(claims).encode())}"
    return f"{signed}.{_base64(hmac.digest(pem, signed.encode(), 'sha256'))}"


def jwt_authn(providers: dict[str, rig.Config], requires: rig.Config) -> Change:
    """Envoy's own filter before ours."""

    def change(config: rig.Config) -> None:
        authn = {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requires}],
        }
        rig.hcm(config)["http_filters"].insert(0, {"name": "envoy.filters.http.jwt_authn", "typed_config": authn})

    return change


def any_of(*names: str, otherwise: str = "allow_missing") -> rig.Config:
    """Any of these providers; `otherwise` says what becomes of requests without a token."""
    requirements: list[rig.Config] = [{"provider_name": name} for name in names]
    if otherwise:
        requirements.append({otherwise: {}})
    return {"requires_any": {"requirements": requirements}} if len(requirements) > 1 else requirements[0]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- Certificates -----------------------------------------------------------------------------


class Authority:
    """A certificate authority whose files lie in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _certificate(name, self._key.public_key(), name, self._key, [], authority=True)
        self.file = self._write(f"{name}.pem", self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, uris: Sequence[str] = (), dns: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate with this common name and these alternative names, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(each) for each in dns]
        certificate = _certificate(name, key.public_key(), self.name, self._key, names)
        return self._files(f"{self.name}-{name}", certificate, key)

    def selfsigned(self, name: str, uris: Sequence[str]) -> tuple[Path, Path]:
        """A certificate that nobody vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self._files(f"self-{name}", _certificate(name, key.public_key(), name, key, names), key)

    def _files(self, stem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = certificate.public_bytes(serialization.Encoding.PEM)
        return self._write(f"{stem}.pem", public), self._write(f"{stem}.key", private)

    def _write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        return path


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    names: Sequence[x509.GeneralName],
    *,
    authority: bool = False,
) -> x509.Certificate:
    def distinguished(common: str) -> x509.Name:
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "acme")] if common else []
        return x509.Name([*attributes, *([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])])

    now = datetime.now(timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(name))
        .issuer_name(distinguished(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=5))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def mutual_tls(server: tuple[Path, Path], trusted: Path, **validation: Any) -> Change:
    """TLS at the listener, which verifies client certificates where they are shown."""

    def change(config: rig.Config) -> None:
        certificate, key = server
        rig.listener(config)["filter_chains"][0]["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [
                        {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
                    ],
                    "validation_context": {"trusted_ca": {"filename": str(trusted)}, **validation},
                },
            },
        }

    return change


def client_context(certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    """A client that shows this certificate, and trusts every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # With TLS 1.3 a client learns of its refusal only when it reads.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context
