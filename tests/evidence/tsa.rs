//! A time-stamping authority of any year and scheme: certificates and signatures by openssl, the token laid here.

use std::process::Command;

use pechat::timestamp::Hash;
use tempfile::TempDir;

/// A root and a unit under it, in force from the first to the last day of two years.
pub struct Tsa {
    dir: TempDir,
    digest: &'static str,
}

const CONFIG: &str = "[ca]\ndefault_ca=root\n[root]\ndatabase=index\nserial=serial\ncrlnumber=crlnumber\nnew_certs_dir=.\npolicy=any\n\
    certificate=root.pem\nprivate_key=root.key\nunique_subject=no\n[any]\ncommonName=supplied\n\
    [req]\ndistinguished_name=none\n[none]\n[root_ca]\nbasicConstraints=critical,CA:TRUE\n\
    keyUsage=critical,keyCertSign,cRLSign\n[unit]\nbasicConstraints=critical,CA:FALSE\n\
    keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,timeStamping\n";

impl Tsa {
    /// `scheme` is `ec` (with SHA-256) or `rsa` (with SHA-512).
    pub fn new(name: &str, scheme: &str, from: u32, to: u32) -> Tsa {
        let tsa = Tsa {
            dir: tempfile::tempdir().unwrap(),
            digest: if scheme == "ec" { "sha256" } else { "sha512" },
        };
        for (file, text) in [("ca.cnf", CONFIG), ("index", ""), ("serial", "1000"), ("crlnumber", "01")] {
            std::fs::write(tsa.dir.path().join(file), text).unwrap();
        }
        let key = if scheme == "ec" { "ec -pkeyopt ec_paramgen_curve:P-256" } else { "rsa:2048" };
        for (role, sign) in
            [("root", "-selfsign -keyfile root.key -extensions root_ca"), ("unit", "-extensions unit")]
        {
            let digest = tsa.digest;
            tsa.openssl(&format!(
                "req -config ca.cnf -newkey {key} -nodes -keyout {role}.key -out {role}.csr -subj /CN={name}-{role}"
            ));
            tsa.openssl(&format!(
                "ca -batch -notext -config ca.cnf -md {digest} {sign} -startdate {from}0101000000Z \
                 -enddate {to}1231235959Z -in {role}.csr -out {role}.pem"
            ));
            tsa.openssl(&format!("x509 -in {role}.pem -outform DER -out {role}.der"));
        }
        let digest = tsa.digest;
        tsa.openssl(&format!(
            "ca -config ca.cnf -gencrl -md {digest} -crl_lastupdate {from}0102000000Z \
             -crl_nextupdate {to}1231235959Z -out crl.pem"
        ));
        tsa.openssl("crl -in crl.pem -outform DER -out crl.der");
        tsa
    }

    pub fn root(&self) -> Vec<u8> {
        self.read("root.der")
    }

    /// Its list: nothing was revoked.
    pub fn list(&self) -> Vec<u8> {
        self.read("crl.der")
    }

    /// A token over `imprint` with genTime noon of `day`, `YYYYMMDD`.
    pub fn stamp(&self, hash: Hash, imprint: &[u8], day: u32) -> Vec<u8> {
        let own = Hash::from_name(self.digest).unwrap();
        let (unit, time) = (self.read("unit.der"), format!("{day}120000Z"));
        let message = der(0x30, &[&algorithm(hash), &der(4, &[imprint])]);
        let info = [&[2, 1, 1, 6, 3, 0x2A, 3, 4][..], &message, &[2, 1, 5], &der(0x18, &[time.as_bytes()])];
        let info = der(0x30, &info);
        let attribute = |oid: &[u8], value: &[u8]| der(0x30, &[&der(6, &[oid]), &der(0x31, &[value])]);
        let named = if own == Hash::Sha256 { Vec::new() } else { algorithm(own) };
        let id = der(0x30, &[&named, &der(4, &[&own.of(&[&unit])])]);
        let mut attributes = [
            attribute(&pkcs9(&[3]), &der(6, &[TST_INFO])),
            attribute(&pkcs9(&[4]), &der(4, &[&own.of(&[&info])])),
            attribute(&pkcs9(&[16, 2, 47]), &der(0x30, &[&der(0x30, &[&id])])),
        ];
        attributes.sort();
        let attributes = attributes.concat();
        let signature = self.sign(&der(0x31, &[&attributes]));
        let signer = der(
            0x30,
            &[
                &[2, 1, 1],
                &self.issuer_and_serial(&unit),
                &algorithm(own),
                &der(0xA0, &[&attributes]),
                &self.scheme(),
                &der(4, &[&signature]),
            ],
        );
        let content = der(0x30, &[&der(6, &[TST_INFO]), &der(0xA0, &[&der(4, &[&info])])]);
        let digests = der(0x31, &[&algorithm(own)]);
        let data = der(0x30, &[&[2, 1, 3], &digests, &content, &der(0xA0, &[&unit]), &der(0x31, &[&signer])]);
        let signed_data = der(6, &[&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 2]]);
        der(0x30, &[&signed_data, &der(0xA0, &[&data])])
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        std::fs::write(self.dir.path().join("tbs"), message).unwrap();
        self.openssl(&format!("dgst -{} -sign unit.key -out signature tbs", self.digest));
        self.read("signature")
    }

    fn scheme(&self) -> Vec<u8> {
        let (oid, null): (&[u8], &[u8]) = match self.digest {
            "sha256" => (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2], &[]),
            _ => (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 13], &[5, 0]),
        };
        der(0x30, &[&der(6, &[oid]), null])
    }

    fn issuer_and_serial(&self, unit: &[u8]) -> Vec<u8> {
        use der::{Decode, Encode};
        let certificate = x509_cert::Certificate::from_der(unit).unwrap();
        let tbs = certificate.tbs_certificate();
        der(0x30, &[&tbs.issuer().to_der().unwrap(), &tbs.serial_number().to_der().unwrap()])
    }

    fn openssl(&self, words: &str) {
        let run =
            Command::new("openssl").args(words.split_whitespace()).current_dir(self.dir.path()).output();
        let output = run.expect("openssl starts");
        assert!(output.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }
}

const TST_INFO: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9, 16, 1, 4];

fn pkcs9(arcs: &[u8]) -> Vec<u8> {
    [&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 9], arcs].concat()
}

fn algorithm(hash: Hash) -> Vec<u8> {
    let arc = match hash {
        Hash::Sha256 => 1,
        Hash::Sha384 => 2,
        Hash::Sha512 => 3,
        Hash::Sha3_256 => 8,
        Hash::Sha3_384 => 9,
        Hash::Sha3_512 => 10,
    };
    der(0x30, &[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, arc]])
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [.., high, low] = content.len().to_be_bytes();
    let length = match content.len() {
        0..0x80 => vec![low],
        0x80..0x100 => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [vec![tag], length, content].concat()
}
