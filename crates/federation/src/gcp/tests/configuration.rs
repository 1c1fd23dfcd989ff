//! What may be configured, and how much of it.

use super::*;
use crate::config::tests::is_placed;

#[test]
fn what_cannot_be_a_configuration_is_refused_with_its_place() {
    let good = config(&uploaded([key("p256.pem").public()]));
    let refused = |text: &str| -> String {
        match yaml::config(text.as_bytes()).and_then(|raw| Config::new(raw, &[ISSUER].into())) {
            Ok(_) => panic!("taken: {text}"),
            Err(why) => why.to_string(),
        }
    };
    assert!(Config::new(yaml::config(good.as_bytes()).unwrap(), &HashSet::new()).is_ok());
    let many = (0..11).map(|i| format!("a{i}")).collect::<Vec<_>>().join(",");
    let attributes = (0..51).map(|i| format!("\n    attribute.a{i}: assertion.sub")).collect::<String>();
    for (from, to, why) in [
        ("/providers/given", "/providers/Given", "a provider is called projects/NUMBER/"),
        ("/providers/given", "/providers/cluster", "the provider is there twice"),
        ("    google.subject: assertion.sub", "    attribute.x: assertion.sub", "there is no google.subject"),
        (
            "    google.subject: assertion.sub",
            "    google.subject: asertion.sub",
            "undeclared reference to 'asertion'",
        ),
        ("google.groups:", "google.group:", "\"google.group\" is neither google.subject"),
        ("attribute.namespace:", "attribute.Namespace:", "\"attribute.Namespace\" is neither"),
        (
            "\n    google.groups: assertion.groups",
            &attributes,
            "there are 52 custom attributes, and 50 may be",
        ),
        (
            "attributeCondition: attribute",
            "attributeCondition: atribute",
            "undeclared reference to 'atribute'",
        ),
        ("[one, two]", &format!("[{many}]"), "there are 11 allowed audiences, and 10 may be"),
        ("[one, two]", &format!("[{}]", "x".repeat(257)), "an audience may have 256 characters"),
        (ISSUER, "http://tokens.example.com", "issuer URL must use https"),
        ("\"use\":\"sig\"", "\"use\":\"sig\",\"x5c\":[]", "must not have x5c"),
        ("\"use\":\"sig\"", "\"use\":\"enc\"", "is not for signatures"),
        ("\"crv\":\"P-256\"", "\"crv\":\"P-384\"", "is not one of RSA or EC"),
        ("etag: BwX", "condition: {}", "unknown field `condition`"),
        ("principal://", "principals://", "no principal of IAM has this form"),
        ("roles/iam.workloadIdentityUser", "iam.workloadIdentityUser", "no role of IAM is known here"),
        ("roles/iam.workloadIdentityUser", "roles/workloadIdentityUser", "no role of IAM is known here"),
        ("roles/iam.workloadIdentityUser", "roles/iam.workloadIdentityUsr", "no role of IAM is known here"),
        ("roles/iam.workloadIdentityUser", "projects/shop/roles/", "no role of IAM is known here"),
        ("user:me@example.com", "usr:me@example.com", "no principal of IAM has this form"),
        ("user:me@example.com", "user:", "no principal of IAM has this form"),
        ("user:me@example.com", "allUserss", "no principal of IAM has this form"),
        ("laptop/subject/", "labtop/subject/", "there is no provider of the pool projects/123456789012/"),
        ("attribute.namespace/default", "attribute.namespce/default", "maps attribute.namespce"),
        (
            &format!("principal://iam.googleapis.com/{POOL}/subject/"),
            &format!("principalSet://iam.googleapis.com/{POOL}-closed/group/"),
            "maps google.groups",
        ),
        (
            "role: roles/iam.workloadIdentityUser",
            "roles: roles/iam.workloadIdentityUser",
            "unknown field `roles`",
        ),
        ("email: nobody@", "email: app@", "the service account is there twice"),
        ("state: ACTIVE", "state: GONE", "GONE"),
        ("displayName", "dispalyName", "unknown field `dispalyName`"),
    ] {
        assert!(good.contains(from), "{from}");
        let told = refused(&good.replacen(from, to, 1));
        assert!(told.contains(why) && is_placed(&told), "{from} -> {to}: {told}");
    }
    let fetched = good.split(", jwksJson").next().unwrap().to_owned() + "}";
    assert!(Config::new(yaml::config(fetched.as_bytes()).unwrap(), &[ISSUER].into()).is_ok());
    let elsewhere = fetched.replace(ISSUER, "https://other.example.com");
    assert!(refused(&elsewhere).contains("this is none of `issuers`"));
}

#[tokio::test]
async fn ten_thousand_providers_cost_a_look_up() {
    let signer = key("p256.pem");
    let jwks = uploaded([signer.public()]);
    let mut text = String::from("providers:");
    for i in 0..10_000 {
        text += &format!(
            "\n- {{name: {POOL}/providers/p{i:05}, attributeMapping: {{google.subject: assertion.sub}}, \
             oidc: {{issuerUri: '{ISSUER}', allowedAudiences: [a{i}]"
        );
        text += if i == 9_999 { ", jwksJson: '" } else { "}}" };
        if i == 9_999 {
            text += &format!("{jwks}'}}}}");
        }
    }
    let raw: RawConfig = yaml::config(text.as_bytes()).unwrap();
    let (means, clock) = means();
    let gcp = Gcp::new(Config::new(raw, &[ISSUER].into()).unwrap(), means);
    let local = Local { gcp, clock, rsa: key("rsa2048.pem"), ec: signer };
    let token = token(&local.ec, &changed(&Local::claims(), &json!({"aud": "a9999"})));
    assert_eq!(local.exchange_at(&audience("p09999"), &token).await.0, 200);
    assert_eq!(local.exchange_at(&audience("p10000"), &token).await.1["error"], "invalid_target");
}
