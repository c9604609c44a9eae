// Bouncy Castle as the stranger: asks for timestamps over mutual TLS, validates each answer against its query
// and the token with the unit's certificate, and sees a changed query and a refusal for what they are.
// Argument: the URL. The stores come by the system properties of javax.net.ssl.

import java.io.OutputStream;
import java.math.BigInteger;
import java.net.URI;
import java.security.SecureRandom;
import java.util.Collection;
import javax.net.ssl.HttpsURLConnection;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cmp.PKIFailureInfo;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.tsp.TSPAlgorithms;
import org.bouncycastle.tsp.TSPException;
import org.bouncycastle.tsp.TimeStampRequest;
import org.bouncycastle.tsp.TimeStampRequestGenerator;
import org.bouncycastle.tsp.TimeStampResponse;

public class TimestampAsks {
    static TimeStampResponse ask(String url, TimeStampRequest query) throws Exception {
        HttpsURLConnection connection = (HttpsURLConnection) URI.create(url).toURL().openConnection();
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "application/timestamp-query");
        try (OutputStream body = connection.getOutputStream()) {
            body.write(query.getEncoded());
        }
        if (!"application/timestamp-reply".equals(connection.getContentType())) {
            throw new IllegalStateException(connection.getContentType());
        }
        return new TimeStampResponse(connection.getInputStream());
    }

    static TimeStampRequest query(ASN1ObjectIdentifier hash, int bytes, SecureRandom random) throws Exception {
        TimeStampRequestGenerator generator = new TimeStampRequestGenerator();
        generator.setCertReq(true);
        byte[] imprint = new byte[bytes];
        random.nextBytes(imprint);
        return generator.generate(hash, imprint, new BigInteger(64, random));
    }

    public static void main(String[] arguments) throws Exception {
        SecureRandom random = new SecureRandom();
        ASN1ObjectIdentifier[] hashes = {
            TSPAlgorithms.SHA256, TSPAlgorithms.SHA384, TSPAlgorithms.SHA512, NISTObjectIdentifiers.id_sha3_256,
        };
        int[] bytes = {32, 48, 64, 32};
        for (int i = 0; i < hashes.length; i++) {
            TimeStampRequest query = query(hashes[i], bytes[i], random);
            TimeStampResponse answer = ask(arguments[0], query);
            answer.validate(query);
            @SuppressWarnings("unchecked")
            Collection<X509CertificateHolder> units =
                answer.getTimeStampToken().getCertificates().getMatches(answer.getTimeStampToken().getSID());
            answer.getTimeStampToken().validate(new JcaSimpleSignerInfoVerifierBuilder()
                .setProvider(new BouncyCastleProvider()).build(units.iterator().next()));
            try {
                answer.validate(query(hashes[i], bytes[i], random));
                throw new IllegalStateException("validated against another query");
            } catch (TSPException expected) {
                System.out.println("valid: " + hashes[i] + ", and not for another: " + expected.getMessage());
            }
        }
        TimeStampResponse refusal = ask(arguments[0], query(TSPAlgorithms.SHA1, 20, random));
        System.out.println("SHA-1: status " + refusal.getStatus() + ", badAlg "
            + (refusal.getFailInfo().intValue() == PKIFailureInfo.badAlg));
    }
}
