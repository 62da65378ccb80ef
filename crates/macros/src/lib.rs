//! The derives for messages that cross to other nodes. Use them through `covenant-runtime`, which has the traits.
//!
//! # Reading order
//! 1. `remotable`  2. `schema`  3. `options`
#![deny(clippy::disallowed_methods)]

mod options;
mod remotable;
mod schema;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a message type one that other nodes may send: its `Remotable`, with its request, its response and its schema hash.
///
/// On an enum whose variants are casts, or calls with one `Reply<T>` field, or on a struct that is one of the two. Every
/// other field implements `Schema`, `Serialize` and `Deserialize`.
///
/// - `#[remotable(name = "shop.cart/1")]` names it on the wire. Required.
/// - `#[remotable(crate = "covenant::runtime")]` says where `covenant-runtime` is, where it is not a dependency.
/// - `#[remotable(local)]` on a variant: it never crosses. Sending it to another node is refused.
#[proc_macro_derive(Remotable, attributes(remotable))]
pub fn derive_remotable(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    remotable::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets a type be a field of a message: its `Schema`, of its name, its variants and its fields.
///
/// `#[schema(crate = "covenant::runtime")]` says where `covenant-runtime` is, where it is not a dependency.
#[proc_macro_derive(Schema, attributes(schema))]
pub fn derive_schema(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    schema::expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
