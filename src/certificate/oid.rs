//! Object identifiers that certificates, requests and revocation lists are made of.

use const_oid::ObjectIdentifier as Oid;

macro_rules! oids {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Oid = Oid::new_unwrap($text);)*
    };
}

oids! {
    /// X.520 countryName.
    COUNTRY = "2.5.4.6";
    /// X.520 organizationName.
    ORGANISATION = "2.5.4.10";
    /// X.520 organizationIdentifier.
    ORGANISATION_IDENTIFIER = "2.5.4.97";
    /// X.520 commonName.
    COMMON_NAME = "2.5.4.3";
    /// RFC 5480 id-ecPublicKey.
    EC_PUBLIC_KEY = "1.2.840.10045.2.1";
    /// NIST P-256.
    P256 = "1.2.840.10045.3.1.7";
    /// NIST P-384.
    P384 = "1.3.132.0.34";
    /// RFC 8017 rsaEncryption.
    RSA = "1.2.840.113549.1.1.1";
    /// RFC 5758 ecdsa-with-SHA256.
    ECDSA_SHA256 = "1.2.840.10045.4.3.2";
    /// RFC 5758 ecdsa-with-SHA384.
    ECDSA_SHA384 = "1.2.840.10045.4.3.3";
    /// RFC 5758 ecdsa-with-SHA512.
    ECDSA_SHA512 = "1.2.840.10045.4.3.4";
    /// RFC 8017 sha256WithRSAEncryption.
    RSA_SHA256 = "1.2.840.113549.1.1.11";
    /// RFC 8017 sha384WithRSAEncryption.
    RSA_SHA384 = "1.2.840.113549.1.1.12";
    /// RFC 8017 sha512WithRSAEncryption.
    RSA_SHA512 = "1.2.840.113549.1.1.13";
    /// PKCS #9 extensionRequest.
    EXTENSION_REQUEST = "1.2.840.113549.1.9.14";
    /// RFC 5280 id-kp-serverAuth.
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
    /// RFC 5280 id-kp-clientAuth.
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
    /// RFC 5280 id-kp-timeStamping.
    TIME_STAMPING = "1.3.6.1.5.5.7.3.8";
    /// RFC 5280 id-ce-invalidityDate.
    INVALIDITY_DATE = "2.5.29.24";
    /// RFC 5280 id-ce-issuingDistributionPoint.
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28";
    /// X.509 id-ce-expiredCertsOnCRL.
    EXPIRED_CERTS_ON_CRL = "2.5.29.60";
    /// RFC 6960 id-kp-OCSPSigning.
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9";
    /// RFC 6960 id-pkix-ocsp-nocheck.
    OCSP_NOCHECK = "1.3.6.1.5.5.7.48.1.5";
    /// RFC 6960 id-ad-ocsp.
    OCSP = "1.3.6.1.5.5.7.48.1";
    /// RFC 5280 id-ad-caIssuers.
    CA_ISSUERS = "1.3.6.1.5.5.7.48.2";
    /// RFC 5652 id-signedData.
    SIGNED_DATA = "1.2.840.113549.1.7.2";
    /// RFC 5652 id-data.
    DATA = "1.2.840.113549.1.7.1";
}
