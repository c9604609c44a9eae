"""Makes a one-page PDF, signs it with a key that is nothing to the appliance, has the appliance stamp the
signature (PAdES B-T), and validates both; the unit's revocation list comes from where its certificate says."""

import asyncio
import io
import os
import ssl
from pathlib import Path

import aiohttp
from pyhanko.keys import load_cert_from_pemder
from pyhanko.pdf_utils.generic import StreamObject
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter
from pyhanko.sign import fields, signers
from pyhanko.sign.timestamps.aiohttp_client import HTTPTimeStamper
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

URL, CA, CERT, KEY = (os.environ[f"PECHAT_{name}"] for name in ("URL", "CA", "CERT", "KEY"))


def page():
    """A PDF of one empty page."""
    writer, out = PdfFileWriter(), io.BytesIO()
    content = writer.add_object(StreamObject(stream_data=b""))
    writer.insert_page(PageObject(contents=content, media_box=(0, 0, 200, 200)))
    writer.write(out)
    return out.getvalue()


async def signed(pdf):
    """The PDF with a signature and its timestamp."""
    tls = ssl.create_default_context(cafile=CA)
    tls.load_cert_chain(CERT, KEY)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        signer = signers.PdfSigner(
            signers.PdfSignatureMetadata(
                field_name="Signature", md_algorithm="sha256", subfilter=fields.SigSeedSubFilter.PADES
            ),
            signer=signers.SimpleSigner.load("signer.key", "signer.pem"),
            timestamper=HTTPTimeStamper(f"{URL}/tsa", https=True, timeout=40, session=session),
        )
        out = await signer.async_sign_pdf(IncrementalPdfFileWriter(io.BytesIO(pdf)))
    return out.getvalue()


async def judged(pdf, of_unit):
    """The state of the only signature, timestamps judged by `of_unit`."""
    (signature,) = PdfFileReader(io.BytesIO(pdf)).embedded_signatures
    of_signer = ValidationContext(trust_roots=[load_cert_from_pemder("signer-ca.pem")], allow_fetching=False)
    return await async_validate_pdf_signature(
        signature, signer_validation_context=of_signer, ts_validation_context=of_unit
    )


async def main():
    """All of it."""
    pdf = await signed(page())
    root = load_cert_from_pemder(CA)
    of_unit = ValidationContext(trust_roots=[root], allow_fetching=True, revocation_mode="require")
    state = await judged(pdf, of_unit)
    stamp = state.timestamp_validity
    assert state.bottom_line and stamp.trusted and stamp.intact and stamp.valid, state.pretty_print_details()
    assert "Pechat Time-Stamping Unit 1" in stamp.signing_cert.subject.human_friendly
    print(state.summary())

    strange = ValidationContext(trust_roots=[load_cert_from_pemder("signer-ca.pem")], allow_fetching=False)
    stamp = (await judged(pdf, strange)).timestamp_validity
    assert stamp.intact and stamp.valid and not stamp.trusted
    print("another root: UNTRUSTED")


asyncio.run(main())
