//! JUnit's XML: a suite for each verifier, a case for each rule.

use std::fmt::Write;

use tokensmith_verify::doctor::Diagnosis;
use tokensmith_verify::report::Verdict;

use crate::output::printable;

/// The whole report.
pub fn write(found: &[Diagnosis]) -> String {
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tokensmith doctor\">\n");
    for one in found {
        let count = |verdict| one.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let head = format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
            escaped(&one.name),
            one.findings.len(),
            count(Verdict::Fails),
            count(Verdict::Unchecked)
        );
        xml.push_str(&head);
        for finding in &one.findings {
            let (name, detail) = (escaped(&finding.rule), escaped(&finding.detail));
            let _ = write!(xml, "    <testcase classname=\"{}\" name=\"{name}\"", escaped(&one.name));
            let _ = match finding.verdict {
                Verdict::Holds => writeln!(xml, "/>"),
                Verdict::Unchecked => writeln!(xml, "><skipped message=\"{detail}\"/></testcase>"),
                Verdict::Fails => writeln!(
                    xml,
                    "><failure message=\"{detail}\">{} ({})</failure></testcase>",
                    escaped(&finding.mend),
                    escaped(&finding.source)
                ),
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// What stands in XML as it is: control characters cannot, whatever they are written as.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tokensmith_verify::doctor::Finding;

    use super::*;

    #[test]
    fn what_an_issuer_says_ends_no_attribute() {
        let finding = |verdict| Finding {
            rule: "open".to_owned(),
            verdict,
            detail: "\"/><x a='\u{1}".to_owned(),
            what: String::new(),
            mend: "a & b".to_owned(),
            source: "https://s".to_owned(),
        };
        let found = Diagnosis {
            name: "aws".to_owned(),
            title: String::new(),
            asks: String::new(),
            forgets: None,
            findings: [Verdict::Holds, Verdict::Unchecked, Verdict::Fails].map(finding).into(),
        };
        let detail = "&quot;/&gt;&lt;x a=&apos;\\u{1}";
        assert_eq!(
            write(&[found]),
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tokensmith doctor\">\n  \
                 <testsuite name=\"aws\" tests=\"3\" failures=\"1\" skipped=\"1\">\n    \
                 <testcase classname=\"aws\" name=\"open\"/>\n    \
                 <testcase classname=\"aws\" name=\"open\"><skipped message=\"{detail}\"/></testcase>\n    \
                 <testcase classname=\"aws\" name=\"open\"><failure message=\"{detail}\">a &amp; b (https://s)</failure></testcase>\n  \
                 </testsuite>\n</testsuites>\n"
            )
        );
    }
}
