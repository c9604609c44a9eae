// Bouncy Castle as the stranger: reads RFC 4998 records and validates the file, every earlier
// time-stamp of the newest chain, and the newest token's signature.
// Arguments: pairs of RECORD FILE.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Date;
import org.bouncycastle.cms.SignerInformationVerifier;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;

public class EvidenceReads {
    public static void main(String[] arguments) throws Exception {
        BouncyCastleProvider provider = new BouncyCastleProvider();
        DigestCalculatorProvider digests =
            new JcaDigestCalculatorProviderBuilder().setProvider(provider).build();
        // The records of a rehearsal lie in the future.
        Date late = new Date(Long.MAX_VALUE / 2);
        for (int i = 0; i < arguments.length; i += 2) {
            byte[] record = Files.readAllBytes(Path.of(arguments[i]));
            byte[] file = Files.readAllBytes(Path.of(arguments[i + 1]));
            ERSEvidenceRecord evidence = new ERSEvidenceRecord(record, digests);
            evidence.validatePresent(new ERSByteData(file), late);
            SignerInformationVerifier verifier = new JcaSimpleSignerInfoVerifierBuilder()
                .setProvider(provider).build(evidence.getSigningCertificate());
            evidence.validate(verifier);
            System.out.println("valid: " + arguments[i]);
        }
    }
}
