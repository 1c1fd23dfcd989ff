//! The credentials of a request, kept out of its line: found in the texts as they came, in one pass.
//!
//! Strangers choose both the credentials and the texts. So what was put in is never looked at again (a text would grow with
//! each word that is part of `[token]`), there are few words, and no more of a text is looked at than is shown.

use std::fmt;

use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use zeroize::Zeroizing;

use super::line::{LONGEST_TEXT, Line};
use super::text::HIDDEN;
use crate::credentials;

/// So many words are looked for, tokens first, then the longest. No client that is no attacker sends more.
const MOST: usize = 16;
/// A word that is longer is known by its beginning.
const KEY: usize = 256;
/// A shorter secret is no token that is worth hiding, and could be any word.
const SHORTEST: usize = 4;
/// Of a token that has let its caller in, in what tells what was done.
const SHORTEST_ACCEPTED: usize = 8;
/// Of what was refused: such a word could be chosen to hide what the request was about.
const SHORTEST_REFUSED: usize = 16;

type Words = Vec<Zeroizing<String>>;

/// What is to be kept out of a line.
#[derive(Default)]
pub(super) struct Secrets {
    /// In what the client calls itself.
    in_agent: Words,
    /// In all other texts.
    elsewhere: Words,
}

impl Secrets {
    /// Those of a request. Where it is `known` who asks, only the token that has surely let them in is hidden in all texts:
    /// any other could be chosen so that it hides what was done. A certificate counts before a token, and nobody then looks
    /// at the token.
    pub(super) fn of(headers: &HeaderMap, known: bool, certificate: bool) -> Self {
        let tokens = credentials::tokens(headers, &mut Vec::new()).unwrap_or_default();
        let tokens: Words =
            tokens.into_iter().flatten().map(|t| Zeroizing::new(t.expose().to_owned())).collect();
        let in_agent = few(tokens.clone(), words(headers));
        let (from, shortest) = match (known, tokens.len()) {
            (false, _) => (&in_agent, SHORTEST_REFUSED),
            (true, 1) if !certificate => (&tokens, SHORTEST_ACCEPTED),
            (true, _) => (&Words::new(), SHORTEST_ACCEPTED),
        };
        let elsewhere = from.iter().filter(|word| word.len() >= shortest).cloned().collect();
        Secrets { in_agent, elsewhere }
    }

    /// Takes them out of a line.
    pub(super) fn hide_in(&self, line: &mut Line) {
        hide(&mut line.user_agent, &self.in_agent);
        line.each_text(|text| hide(text, &self.elsewhere));
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// Whether a text has a word in it that a request shows as its credential, whole. What a token is told by, `text` knows.
/// A request that shows more words than are looked for has every text hidden: each would be looked for in all of it.
pub(crate) fn shows_credential(text: &str, headers: &HeaderMap) -> bool {
    let values = [AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL].into_iter().flat_map(|name| headers.get_all(name));
    let words = values.flat_map(|value| value.as_bytes().split(|b| b" ,\t".contains(b)));
    // No word is looked for that cannot be in it: a token is longer than most names.
    let mut words = words.filter(|word| (SHORTEST_ACCEPTED..=text.len()).contains(&word.len()));
    let shown = |word: &[u8]| std::str::from_utf8(word).is_ok_and(|word| text.contains(word));
    words.by_ref().take(MOST).any(shown) || words.next().is_some()
}

/// The words of the headers that hold credentials, also of those that cannot be read as a whole.
fn words(headers: &HeaderMap) -> Words {
    let values = [AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL].into_iter().flat_map(|name| headers.get_all(name));
    let mut words = Words::new();
    for value in values {
        let value = Zeroizing::new(String::from_utf8_lossy(value.as_bytes()).into_owned());
        let found = value.split([' ', ',', '\t']).filter(|w| !w.eq_ignore_ascii_case("bearer"));
        words.extend(found.map(|word| Zeroizing::new(word.to_owned())));
    }
    words
}

/// The tokens and the longest of the other words, as many as are looked for.
fn few(mut tokens: Words, mut words: Words) -> Words {
    words.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    words.dedup();
    words.retain(|word| !tokens.contains(word));
    tokens.append(&mut words);
    tokens.retain(|word| word.len() >= SHORTEST);
    tokens.truncate(MOST);
    tokens
}

/// Replaces the words in as much of a text as can be shown; what follows stays, to be counted and cut.
fn hide(text: &mut String, words: &[Zeroizing<String>]) {
    if words.is_empty() {
        return;
    }
    let (mut out, mut at) = (String::new(), 0);
    while let Some(c) = text[at..].chars().next().filter(|_| out.len() <= LONGEST_TEXT) {
        match words.iter().filter_map(|word| begins(&text[at..], word)).max() {
            Some(length) => {
                out.push_str(HIDDEN);
                at += length;
            }
            None => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    out.push_str(&text[at..]);
    *text = out;
}

/// How much of the text is this word, if the text begins with it.
fn begins(text: &str, word: &str) -> Option<usize> {
    let key = &word.as_bytes()[..word.len().min(KEY)];
    if !text.as_bytes().starts_with(key) {
        return None;
    }
    let same = text.chars().zip(word.chars()).take_while(|(a, b)| a == b);
    let same: usize = same.map(|(c, _)| c.len_utf8()).sum();
    if same == word.len() {
        return Some(same);
    }
    // Another one of the same beginning, such as a later token of the same account: it goes whole, too.
    let more = text[same..].find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    Some(more.map_or(text.len(), |more| same + more))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }

    fn line(text: &str) -> Line {
        let text = text.to_owned();
        Line {
            user: text.clone(),
            impersonated_by: text.clone(),
            impersonated_user: text.clone(),
            user_agent: text.clone(),
            verb: text.clone(),
            path: text.clone(),
            subject: text.clone(),
            audiences: vec![text.clone(); 2],
            bound_object: text.clone(),
            jti: text.clone(),
            kid: text.clone(),
            reason: text,
            ..Line::default()
        }
    }

    #[test]
    fn a_line_costs_little_whatever_the_headers() {
        // All that is part of what is put in, many times over, for every length.
        let parts =
            (0..HIDDEN.len()).flat_map(|from| (from + 1..=HIDDEN.len()).map(move |to| &HIDDEN[from..to]));
        let parts: Vec<_> = parts.collect();
        let growing = format!("Bearer {}", parts.join(" ").repeat(20));
        let many: Vec<_> = (0..20_000).map(|n| format!("word-{n}")).collect();
        let alike: Vec<_> = (0..200).map(|n| "a".repeat(100 + n)).collect();
        let long = format!("Bearer {}b", "a".repeat(100_000));
        for (authorization, text) in [
            (growing.clone(), HIDDEN.repeat(50)),
            (growing, "toke".repeat(50)),
            ("toke ken] [tok oken".repeat(30), "[tok".into()),
            (many.join(" "), many.join(" ")),
            (alike.join(" "), "a".repeat(1_000_000)),
            (long, "a".repeat(99_999)),
        ] {
            let secrets = Secrets::of(&headers(&authorization), false, false);
            assert!(
                secrets.in_agent.len() <= MOST && secrets.elsewhere.len() <= MOST,
                "{}",
                secrets.in_agent.len()
            );
            let mut line = line(&text);
            secrets.hide_in(&mut line);
            for shown in [&line.user_agent, &line.path, &line.reason] {
                // Seven bytes in the place of at least four.
                assert!(shown.len() <= 2 * text.len(), "{} of {}", shown.len(), text.len());
            }
            assert!(line.to_bytes().len() <= super::super::line::LONGEST);
        }
    }

    #[test]
    fn words_are_found_in_the_text_as_it_came() {
        let hidden = |authorization: &str, text: &str| {
            let mut line = Line { user_agent: text.into(), ..Line::default() };
            Secrets::of(&headers(authorization), false, false).hide_in(&mut line);
            line.user_agent
        };
        for (authorization, text, want) in [
            ("Bearer secret", "a secret, ésecreté", "a [token], é[token]é"),
            ("Bearer secret toke", "secret toke", "[token] [token]"),
            ("secret secret-and-more", "secret-and-more secret", "[token] [token]"),
            ("Basic dXNlcjpwYXNz", "curl -u dXNlcjpwYXNz", "curl -u [token]"),
            ("Bearer abc", "abc", "abc"),
        ] {
            assert_eq!(hidden(authorization, text), want, "{authorization} | {text}");
        }
        // One that begins as a long one does is not left half.
        let long = "a".repeat(300);
        assert_eq!(hidden(&format!("Bearer {long}.x"), &format!("({long}.other) b")), "([token]) b");
    }

    /// Three thousand words, looked for in a path of thirty thousand bytes, cost a request of a stranger half a second.
    #[test]
    fn few_words_are_looked_for_in_what_is_logged() {
        let text = "/api/v1/".repeat(4_000);
        let words = |count: usize| headers(&(0..count).map(|n| format!("word-{n:04} ")).collect::<String>());
        assert!(!shows_credential(&text, &words(MOST)));
        assert!(shows_credential(&text, &words(MOST + 1)), "it may show one of the others");
        assert!(!shows_credential(&text, &headers(&format!("Bearer {}", "short ".repeat(1_000)))));
        let token = |header: &str| shows_credential("/token/an-opaque-one/x", &headers(header));
        assert!(token("Bearer an-opaque-one") && token("a,b,an-opaque-one") && !token("Bearer another-one"));
    }

    #[test]
    fn what_let_the_caller_in_is_in_no_text_and_what_did_not_hides_nothing_that_was_done() {
        let secret = "an-operators-static-token";
        let shown = |known, certificate, header: &str| {
            let mut line = line(&format!("x/{secret}/y"));
            Secrets::of(&headers(header), known, certificate).hide_in(&mut line);
            serde_json::to_string(&line).unwrap().matches(secret).count()
        };
        let bearer = format!("Bearer {secret}");
        assert_eq!((shown(true, false, &bearer), shown(false, false, &bearer)), (0, 0));
        let everywhere = shown(true, false, "Bearer another-token");
        // Who shows a certificate may write anything beside it: it is hidden in the agent alone.
        assert_eq!(shown(true, true, &bearer), everywhere - 1);
        assert_eq!(shown(true, false, &format!("Bearer another-token {secret}")), everywhere - 1);
    }
}
