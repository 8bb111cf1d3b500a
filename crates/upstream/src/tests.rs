//! The room against servers: the one of known behaviour, and some that do not behave.

mod bed;
mod fixture;
mod lines;
mod login;
mod odd_http;
mod odd_stdio;
mod supervised;
