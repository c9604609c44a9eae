//! Where a certificate says that its issuer's list and certificate are: RFC 5280 sections 4.2.1.13 and 4.2.2.1.

use der::Decode;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints};

/// The `http://` addresses in one certificate (DER), lists first.
pub fn published_at(certificate: &[u8]) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(certificate) else { return Vec::new() };
    let tbs = certificate.tbs_certificate();
    let lists = tbs.get_extension::<CrlDistributionPoints>().ok().flatten().map(|(_, points)| points.0);
    let issuers = tbs.get_extension::<AuthorityInfoAccessSyntax>().ok().flatten().map(|(_, access)| access.0);
    let lists = lists.unwrap_or_default().into_iter().flat_map(|point| match point.distribution_point {
        Some(DistributionPointName::FullName(names)) => names,
        _ => Vec::new(),
    });
    let issuers = issuers.unwrap_or_default().into_iter().map(|access| access.access_location);
    let address = |name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    lists.chain(issuers).filter_map(address).filter(|uri| uri.starts_with("http://")).collect()
}

/// An address as origin and path: `http://host` and `/crl/x.crl`.
pub fn origin_and_path(address: &str) -> Option<(&str, &str)> {
    let host = "http://".len();
    let slash = address.get(host..)?.find('/')? + host;
    Some(address.split_at(slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_at_its_path() {
        assert_eq!(origin_and_path("http://a:80/crl/x.crl"), Some(("http://a:80", "/crl/x.crl")));
        assert_eq!(origin_and_path("http://a"), None);
        assert_eq!(origin_and_path("http"), None);
    }
}
