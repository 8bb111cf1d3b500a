//! Declared REST tools: each is one request to an API, its arguments put into path, query, headers or body, and
//! its answer taken apart as the configuration says.

mod answer;
mod check;
mod config;
mod errors;
mod path;
mod provider;
mod request;
mod tools;

pub use config::{
    ApiConfig, AuthConfig, BasicAuth, BodyKind, Config, DeprecatedConfig, EffectConfig, ErrorConfig, ErrorOn,
    ErrorWord, HeaderAuth, MethodConfig, ParameterConfig, ParameterType, Place, ResponseConfig, ToolConfig,
};
pub use provider::open;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests;
