//! TimeStampResp and token taken apart (RFC 3161 section 2.4.2, RFC 5652 section 5): every field as it
//! stands, nothing judged but the encoding, so that each line of the checklist can judge its own.

use crate::timestamp::NotDer;
use crate::timestamp::tlv::{Element, Reader, tag, well_formed};

/// Deepest nesting that is followed.
const DEPTH: usize = 24;

/// TimeStampResp.
pub struct Reply<'a> {
    /// PKIStatus, contents octets.
    pub status: &'a [u8],
    /// statusString, whole element.
    pub texts: Option<&'a [u8]>,
    /// failInfo, whole element.
    pub fail_info: Option<&'a [u8]>,
    /// timeStampToken, whole element.
    pub token: Option<&'a [u8]>,
}

/// ContentInfo and SignedData.
pub struct Token<'a> {
    /// contentType, contents octets.
    pub content_type: &'a [u8],
    /// SignedData.version, contents octets.
    pub version: &'a [u8],
    /// digestAlgorithms, whole elements.
    pub digests: Vec<&'a [u8]>,
    /// eContentType, contents octets.
    pub inner_type: &'a [u8],
    /// Contents of the OCTET STRING.
    pub content: &'a [u8],
    /// Certificates, whole elements, if the field is there.
    pub certificates: Option<Vec<&'a [u8]>>,
    /// signerInfos.
    pub signers: Vec<Signer<'a>>,
}

/// SignerInfo.
pub struct Signer<'a> {
    /// version, contents octets.
    pub version: &'a [u8],
    /// sid, whole element.
    pub sid: Element<'a>,
    /// digestAlgorithm, whole element.
    pub digest: &'a [u8],
    /// signedAttrs, whole element.
    pub attributes: Option<Element<'a>>,
    /// signatureAlgorithm, whole element.
    pub algorithm: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// TSTInfo.
pub struct Info<'a> {
    /// version, contents octets.
    pub version: &'a [u8],
    /// policy, contents octets.
    pub policy: &'a [u8],
    /// messageImprint, whole element.
    pub imprint: &'a [u8],
    /// serialNumber, contents octets.
    pub serial: &'a [u8],
    /// genTime, contents octets.
    pub gen_time: &'a [u8],
    /// accuracy, contents octets.
    pub accuracy: Option<&'a [u8]>,
    /// ordering.
    pub ordering: bool,
    /// nonce, whole element.
    pub nonce: Option<&'a [u8]>,
    /// tsa, the GeneralName in it.
    pub tsa: Option<&'a [u8]>,
    /// extensions: OID contents, critical, value.
    pub extensions: Vec<Extension<'a>>,
}

/// Extension: OID contents octets, whether it is critical, contents of its OCTET STRING.
pub type Extension<'a> = (&'a [u8], bool, &'a [u8]);

/// Signed attribute: OID contents octets and the values, whole elements.
pub type Attribute<'a> = (&'a [u8], Vec<&'a [u8]>);

impl<'a> Reply<'a> {
    /// Reads exactly one DER TimeStampResp.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NotDer> {
        well_formed(bytes, DEPTH)?;
        let mut outer = Reader::new(bytes);
        let mut fields = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let mut status_info = fields.enter(tag::SEQUENCE)?;
        let status = status_info.integer()?;
        let texts = whole_if(&mut status_info, tag::SEQUENCE)?;
        let fail_info = whole_if(&mut status_info, tag::BIT_STRING)?;
        status_info.finish()?;
        let token = whole_if(&mut fields, tag::SEQUENCE)?;
        fields.finish()?;
        Ok(Self { status, texts, fail_info, token })
    }

    /// Whether PKIStatus is granted or grantedWithMods.
    pub fn grants(&self) -> bool {
        matches!(self.status, [0 | 1])
    }
}

impl<'a> Token<'a> {
    /// Reads one DER ContentInfo with SignedData in it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NotDer> {
        well_formed(bytes, DEPTH)?;
        let mut outer = Reader::new(bytes);
        let mut info = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let content_type = info.oid()?;
        let mut wrapped = info.enter(tag::CONTEXT_0)?;
        info.finish()?;
        let mut data = wrapped.enter(tag::SEQUENCE)?;
        wrapped.finish()?;
        let version = data.integer()?;
        let digests = wholes(data.take(tag::SET)?)?;
        let mut inner = data.enter(tag::SEQUENCE)?;
        let inner_type = inner.oid()?;
        let mut content = inner.enter(tag::CONTEXT_0)?;
        inner.finish()?;
        let octets = content.take(tag::OCTET_STRING)?;
        content.finish()?;
        let certificates = data.optional(tag::CONTEXT_0)?.map(wholes).transpose()?;
        data.optional(tag::CONTEXT_1)?;
        let signers = wholes(data.take(tag::SET)?)?;
        data.finish()?;
        let signers = signers.into_iter().map(Signer::read).collect::<Result<_, _>>()?;
        Ok(Self { content_type, version, digests, inner_type, content: octets, certificates, signers })
    }
}

impl<'a> Signer<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, NotDer> {
        let mut fields = Reader::new(bytes).enter(tag::SEQUENCE)?;
        let version = fields.integer()?;
        let sid = fields.any()?;
        let digest = fields.element(tag::SEQUENCE)?.whole;
        let attributes = if fields.peek() == Some(tag::CONTEXT_0) { Some(fields.any()?) } else { None };
        let algorithm = fields.element(tag::SEQUENCE)?.whole;
        let signature = fields.take(tag::OCTET_STRING)?;
        fields.optional(tag::CONTEXT_1)?;
        fields.finish()?;
        Ok(Self { version, sid, digest, attributes, algorithm, signature })
    }

    /// Attributes as OID contents octets and the values in it, in order.
    pub fn attributes(&self) -> Result<Vec<Attribute<'a>>, NotDer> {
        let mut list = Reader::new(self.attributes.map_or(&[], |a| a.content));
        let mut found = Vec::new();
        while list.peek().is_some() {
            let mut attribute = list.enter(tag::SEQUENCE)?;
            let kind = attribute.oid()?;
            let values = wholes(attribute.take(tag::SET)?)?;
            attribute.finish()?;
            found.push((kind, values));
        }
        Ok(found)
    }
}

impl<'a> Info<'a> {
    /// Reads one DER TSTInfo.
    pub fn read(bytes: &'a [u8]) -> Result<Self, NotDer> {
        well_formed(bytes, DEPTH)?;
        let mut outer = Reader::new(bytes);
        let mut fields = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let version = fields.integer()?;
        let policy = fields.oid()?;
        let imprint = fields.element(tag::SEQUENCE)?.whole;
        let serial = fields.integer()?;
        let gen_time = fields.take(tag::GENERALIZED_TIME)?;
        let accuracy = fields.optional(tag::SEQUENCE)?;
        let ordering = fields.flag()?;
        let nonce = whole_if(&mut fields, tag::INTEGER)?;
        let tsa = fields.optional(tag::CONTEXT_0)?;
        let extensions = fields.optional(tag::CONTEXT_1)?.map(extensions).transpose()?.unwrap_or_default();
        fields.finish()?;
        Ok(Self { version, policy, imprint, serial, gen_time, accuracy, ordering, nonce, tsa, extensions })
    }
}

/// Contents of an Extensions field.
pub fn extensions(content: &[u8]) -> Result<Vec<Extension<'_>>, NotDer> {
    let mut list = Reader::new(content);
    let mut found = Vec::new();
    while list.peek().is_some() {
        let mut extension = list.enter(tag::SEQUENCE)?;
        found.push((extension.oid()?, extension.flag()?, extension.take(tag::OCTET_STRING)?));
        extension.finish()?;
    }
    Ok(found)
}

fn whole_if<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<Option<&'a [u8]>, NotDer> {
    if reader.peek() == Some(tag) { reader.any().map(|e| Some(e.whole)) } else { Ok(None) }
}

fn wholes(content: &[u8]) -> Result<Vec<&[u8]>, NotDer> {
    let mut list = Reader::new(content);
    let mut found = Vec::new();
    while list.peek().is_some() {
        found.push(list.any()?.whole);
    }
    Ok(found)
}

/// Everything at once, for whoever holds only bytes: the fuzzer.
pub fn take_apart(bytes: &[u8]) -> Result<(), NotDer> {
    let Some(token) = Reply::read(bytes)?.token else { return Ok(()) };
    let token = Token::read(token)?;
    token.signers.iter().try_for_each(|s| s.attributes().map(|_| ()))?;
    Info::read(token.content).map(|_| ())
}
