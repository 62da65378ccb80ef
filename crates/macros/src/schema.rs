//! `#[derive(Schema)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result, parse_quote};

use crate::options::Options;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let root = Options::read(&input.attrs, "schema")?.root();
    let (ident, name) = (&input.ident, input.ident.to_string());
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(#root::Schema));
    }
    let (impl_generics, type_generics, wheres) = generics.split_for_impl();
    let described = match &input.data {
        Data::Struct(data) => {
            let fields = describe_fields(&data.fields);
            quote! { to.structure(#name); #fields }
        }
        Data::Enum(data) => {
            let variants = data.variants.iter().map(|variant| {
                let (name, fields) = (variant.ident.to_string(), describe_fields(&variant.fields));
                quote! { to.variant(#name); #fields }
            });
            quote! { to.choice(#name); #(#variants)* }
        }
        Data::Union(_) => return Err(Error::new_spanned(ident, "a union cannot be part of a message")),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #root::Schema for #ident #type_generics #wheres {
            fn describe(to: &mut #root::Describe<'_>) {
                #described
            }
        }
    })
}

fn describe_fields(fields: &Fields) -> TokenStream {
    let described = fields.iter().enumerate().map(|(at, field)| {
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        let of = &field.ty;
        quote! { to.field::<#of>(#name); }
    });
    quote! { #(#described)* }
}
