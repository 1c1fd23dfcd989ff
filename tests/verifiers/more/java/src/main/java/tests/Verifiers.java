package tests;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.Set;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.springframework.security.oauth2.core.DelegatingOAuth2TokenValidator;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

/** Verifiers that people use in Java: Verifiers NAME ISSUER AUDIENCE CA_FILE, with the lines of tests/verifiers/go. */
final class Verifiers {
    interface Verify {
        void take(String token) throws Exception;
    }

    public static void main(String[] args) throws Exception {
        var name = args[0];
        trust(Path.of(args[3]));
        var verify = name.equals("spring") ? spring(args[1], args[2]) : nimbus(args[1], args[2]);
        var library = name.equals("spring") ? NimbusJwtDecoder.class : DefaultJWTProcessor.class;
        // The library's file is NAME-VERSION.jar.
        var jar = Path.of(library.getProtectionDomain().getCodeSource().getLocation().toURI()).getFileName().toString();
        System.out.println("ready " + jar.replaceAll("-([0-9.]+)\\.jar$", " $1"));
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (var line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                verify.take(line.substring("verify ".length()));
                System.out.println("taken");
            } catch (Exception refusal) {
                System.out.println(("refused: " + refusal).replace('\n', ' '));
            }
        }
    }

    /** As a resource server that is told its issuer. */
    private static Verify spring(String issuer, String audience) {
        var decoder = NimbusJwtDecoder.withIssuerLocation(issuer).build();
        var forUs = new JwtClaimValidator<List<String>>("aud", given -> given != null && given.contains(audience));
        decoder.setJwtValidator(new DelegatingOAuth2TokenValidator<>(JwtValidators.createDefaultWithIssuer(issuer), forUs));
        return decoder::decode;
    }

    private static Verify nimbus(String issuer, String audience) throws Exception {
        var keys = JWKSourceBuilder.create(URI.create(issuer + "/openid/v1/jwks").toURL()).build();
        var processor = new DefaultJWTProcessor<SecurityContext>();
        var algorithms = Set.of(JWSAlgorithm.RS256, JWSAlgorithm.ES256, JWSAlgorithm.ES384, JWSAlgorithm.ES512);
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(algorithms, keys));
        processor.setJWTClaimsSetVerifier(
                new DefaultJWTClaimsVerifier<>(audience, new JWTClaimsSet.Builder().issuer(issuer).build(), Set.of("sub", "exp")));
        return token -> processor.process(token, null);
    }

    private static void trust(Path ca) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = Files.newInputStream(ca)) {
            for (var certificate : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                store.setCertificateEntry("ca" + store.size(), certificate);
            }
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
        SSLContext.setDefault(tls);
        HttpsURLConnection.setDefaultSSLSocketFactory(tls.getSocketFactory());
    }
}
