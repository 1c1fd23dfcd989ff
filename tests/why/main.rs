//! `tokensmith why` against a live server: each refusal is real first, by the very request being refused, and then its rule is
//! the one that is named; and so for what is allowed.

mod access;
mod allowed;
mod tokens;
mod world;
mod writes;
