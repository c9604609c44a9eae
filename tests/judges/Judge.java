import java.io.FileInputStream;
import java.io.InputStream;
import java.security.cert.*;
import java.security.cert.PKIXRevocationChecker.Option;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/** `Judge.java ROOT CA LEAF ocsp|crl`: what PKIXRevocationChecker says, from the addresses in the certificate. */
public class Judge {
    public static void main(String[] args) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate root = read(factory, args[0]), ca = read(factory, args[1]), leaf = read(factory, args[2]);
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        Set<Option> options = EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY);
        if (args[3].equals("crl")) options.add(Option.PREFER_CRLS);
        checker.setOptions(options);
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(factory.generateCertPath(List.of(leaf, ca)), parameters);
            System.out.println("good");
        } catch (CertPathValidatorException e) {
            System.out.println(e.getReason() + ": " + e.getMessage() + " / " + e.getCause());
        }
    }

    static X509Certificate read(CertificateFactory factory, String name) throws Exception {
        try (InputStream in = new FileInputStream(name)) {
            return (X509Certificate) factory.generateCertificate(in);
        }
    }
}
