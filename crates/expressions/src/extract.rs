//! `STRING.extract(TEMPLATE)`, as Google's IAM has it in conditions and attribute mappings.
//!
//! A template is a text with one name in braces. What stands before the brace is looked for first in the string, and
//! what stands after it in the rest; what is between them is the value. An empty side is the string's own beginning or
//! end. A template that does not fit gives the empty string, which is no error.

/// What a template finds in a text.
///
/// # Errors
/// It is no template.
pub fn extract<'a>(text: &'a str, template: &str) -> Result<&'a str, &'static str> {
    const WRONG: &str = "a template has one name in braces";
    let (before, rest) = template.split_once('{').ok_or(WRONG)?;
    let (name, after) = rest.split_once('}').ok_or(WRONG)?;
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !named || [before, after].iter().any(|side| side.contains(['{', '}'])) {
        return Err(WRONG);
    }
    let Some(rest) = text.find(before).and_then(|at| text.get(at..)?.strip_prefix(before)) else {
        return Ok("");
    };
    if after.is_empty() {
        return Ok(rest);
    }
    Ok(rest.split_once(after).map_or("", |(value, _)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_find_what_google_says_they_find() {
        let object = "projects/_/buckets/acme-orders-aaa/objects/data_lake/orders/order_date=2019-11-03/aef87g87ae0876";
        for (template, value) in [
            ("/order_date={date}/", "2019-11-03"),
            ("buckets/{name}/", "acme-orders-aaa"),
            ("/orders/{empty}order_date", ""),
            ("{start}/objects/data_lake", "projects/_/buckets/acme-orders-aaa"),
            ("orders/{end}", "order_date=2019-11-03/aef87g87ae0876"),
            ("{all}", object),
            ("/orders/{none}/order_date=", ""),
            ("/nowhere/{none}", ""),
            ("/objects/{not_found}/nothing", ""),
        ] {
            assert_eq!(extract(object, template), Ok(value), "{template}");
        }
        for wrong in ["", "none", "{}", "{", "}", "{a}{b}", "{a}/{b}", "}{a}", "{a b}", "{{a}}"] {
            assert!(extract(object, wrong).is_err(), "{wrong}");
        }
        assert_eq!(extract("äöü", "ä{x}ü"), Ok("ö"));
        assert_eq!(extract("", "{x}"), Ok(""));
    }
}
