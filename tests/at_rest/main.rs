//! The keys at rest: what the data directory gives away, and what happens when its parts do not belong together.
//! Whatever is wrong, the server says what and how to mend it, and changes nothing.

mod damaged;
mod place;
mod records;
mod sealing;
