//! What stands in the attributes beside a derive.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, LitStr, Path, Result};

/// The options of one type or variant.
#[derive(Default)]
pub(crate) struct Options {
    /// Where `covenant-runtime` is.
    root: Option<Path>,
    /// The name on the wire.
    pub(crate) name: Option<LitStr>,
    /// It does not cross.
    pub(crate) local: bool,
}

impl Options {
    /// Those in the attributes `#[attribute(…)]`.
    pub(crate) fn read(attributes: &[Attribute], attribute: &str) -> Result<Self> {
        let mut options = Self::default();
        for found in attributes.iter().filter(|found| found.path().is_ident(attribute)) {
            found.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") && attribute == "remotable" {
                    options.name = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("crate") {
                    options.root = Some(meta.value()?.parse::<LitStr>()?.parse()?);
                } else if meta.path.is_ident("local") && attribute == "remotable" {
                    options.local = true;
                } else {
                    return Err(meta.error("unknown option: there are `name`, `crate` and, on a variant, `local`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }

    /// The path to `covenant-runtime`.
    pub(crate) fn root(&self) -> TokenStream {
        self.root.as_ref().map_or_else(|| quote!(::covenant_runtime), |path| quote!(#path))
    }
}
