//! A session's own policies. They narrow what the session may do, which here is nothing: they are judged, and take no effect.

use serde_json::Value;

use super::error::Refusal;

/// As many managed policies may be named (`PolicyArns`).
const MOST_ARNS: usize = 10;
/// What a policy may have in characters; AWS packs them in a way that it does not publish, so the percentage is that of plain text.
const MOST: usize = 2048;

/// Judges them; gives their size in percent of what may be, if there are any.
pub(super) fn packed(policy: Option<&str>, arns: &[&str]) -> Result<Option<usize>, Refusal> {
    if let Some(policy) = policy {
        let read: Option<Value> = serde_json::from_str(policy).ok();
        let fits =
            read.as_ref().and_then(Value::as_object).is_some_and(|policy| policy.contains_key("Statement"));
        if !fits {
            let text = "The policy is not in the valid JSON format.";
            return Err(Refusal::bad("MalformedPolicyDocument", text));
        }
    }
    let managed = |arn: &&str| arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":policy/");
    if arns.len() > MOST_ARNS || !arns.iter().all(managed) {
        let why = format!("PolicyArns has more than {MOST_ARNS}, or one that is no policy's");
        return Err(Refusal::not_an_arn().because(why));
    }
    let used = policy.map_or(0, |policy| policy.chars().count());
    let used = arns.iter().fold(used, |used, arn| used + arn.chars().count());
    let percent = (used * 100).div_ceil(MOST);
    match used {
        0 => Ok(None),
        _ if percent > 100 => {
            // <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>
            let text =
                format!("Packed size of session policies and tags consumes {percent}% of allotted space.");
            Err(Refusal::bad("PackedPolicyTooLarge", text))
        }
        _ => Ok(Some(percent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_judged() {
        let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess";
        let long = format!("arn:aws:iam::aws:policy/{}", "x".repeat(500));
        assert_eq!(packed(None, &[]), Ok(None));
        assert_eq!(packed(Some(r#"{"Version":"2012-10-17","Statement":[]}"#), &[arn]), Ok(Some(4)));
        for (policy, arns, code) in [
            (Some("{"), vec![], "MalformedPolicyDocument"),
            (Some("[]"), vec![], "MalformedPolicyDocument"),
            (Some("{}"), vec![], "MalformedPolicyDocument"),
            (None, vec!["arn:aws:s3:::bucket/policy"], "ValidationError"),
            (None, vec![arn; 11], "ValidationError"),
            (None, vec![long.as_str(); 5], "PackedPolicyTooLarge"),
        ] {
            assert_eq!(packed(policy, &arns).unwrap_err().code, code);
        }
    }
}
