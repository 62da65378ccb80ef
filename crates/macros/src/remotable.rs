//! `#[derive(Remotable)]`.
//!
//! The request is the message without its replies. Where all replies are of one type the response is that type; otherwise it
//! is an enum with a variant for each call.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, GenericArgument, Ident, LitStr, PathArguments, Result, Type};

use crate::options::Options;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let options = Options::read(&input.attrs, "remotable")?;
    let ident = &input.ident;
    let name = options.name.as_ref().ok_or_else(|| {
        Error::new(Span::call_site(), "say what it is called on the wire: #[remotable(name = \"shop.cart/1\")]")
    })?;
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &input.generics,
            "a message type has no parameters: its name on the wire is one",
        ));
    }
    let shapes = match &input.data {
        Data::Struct(data) => vec![Shape::of(ident, None, &data.fields, false)?],
        Data::Enum(data) => data.variants.iter().map(Shape::of_variant).collect::<Result<Vec<_>>>()?,
        Data::Union(_) => return Err(Error::new_spanned(ident, "a union cannot be a message")),
    };
    Ok(Message { input, name, root: options.root(), shapes }.expand())
}

/// The message type.
struct Message<'a> {
    input: &'a DeriveInput,
    name: &'a LitStr,
    root: TokenStream,
    shapes: Vec<Shape<'a>>,
}

/// One variant, or the whole of a struct.
struct Shape<'a> {
    /// What its request is called.
    ident: &'a Ident,
    /// Its variant; none in a struct.
    variant: Option<&'a Ident>,
    fields: Vec<Field<'a>>,
    local: bool,
}

/// A field of a variant.
struct Field<'a> {
    /// How it stands in a pattern or an expression.
    member: TokenStream,
    /// What it is called in a description.
    name: String,
    binding: Ident,
    ty: &'a Type,
    /// What is replied, where it is a reply.
    reply: Option<&'a Type>,
}

impl<'a> Shape<'a> {
    fn of_variant(variant: &'a syn::Variant) -> Result<Self> {
        let local = Options::read(&variant.attrs, "remotable")?.local;
        Self::of(&variant.ident, Some(&variant.ident), &variant.fields, local)
    }

    fn of(ident: &'a Ident, variant: Option<&'a Ident>, fields: &'a Fields, local: bool) -> Result<Self> {
        let fields: Vec<_> = fields.iter().enumerate().map(|(at, field)| Field::of(at, field)).collect();
        let shape = Self { ident, variant, fields, local };
        if let Some(second) = shape.fields.iter().filter(|field| field.reply.is_some()).nth(1) {
            return Err(Error::new_spanned(second.ty, "a call is answered once: one `Reply` is enough"));
        }
        Ok(shape)
    }

    fn reply(&self) -> Option<&'a Type> {
        self.fields.iter().find_map(|field| field.reply)
    }

    /// The fields that cross.
    fn crossing(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(|field| field.reply.is_none())
    }

    /// A pattern, or an expression, of the message.
    fn message(&self) -> TokenStream {
        let fields = self.fields.iter().map(|Field { member, binding, .. }| quote!(#member: #binding));
        match self.variant {
            Some(variant) => quote!(Self::#variant { #(#fields),* }),
            None => quote!(Self { #(#fields),* }),
        }
    }

    /// The same of the request.
    fn request(&self) -> TokenStream {
        let (ident, fields) = (self.ident, self.crossing().map(|field| &field.binding));
        quote!(__Request::#ident { #(#fields),* })
    }
}

impl<'a> Field<'a> {
    fn of(at: usize, field: &'a syn::Field) -> Self {
        let member = match &field.ident {
            Some(ident) => ident.to_token_stream(),
            None => syn::Index::from(at).to_token_stream(),
        };
        let name = field.ident.as_ref().map_or_else(|| at.to_string(), ToString::to_string);
        // One that is called `reply` or `request` may not meet a name of ours.
        Self { member, name, binding: format_ident!("field_{at}"), ty: &field.ty, reply: replied(&field.ty) }
    }
}

/// What a `Reply<T>` replies.
fn replied(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Reply")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| if let GenericArgument::Type(of) = argument { Some(of) } else { None })
}

impl Message<'_> {
    fn expand(&self) -> TokenStream {
        let (root, ident, name) = (&self.root, &self.input.ident, self.name);
        let (request, response, response_type) = (self.request(), self.response(), self.response_type());
        let (apart, together, schema) = (self.apart(), self.together(), self.schema());
        quote! {
            #[allow(missing_docs, missing_debug_implementations, unreachable_pub, reason = "a derive wrote it")]
            const _: () = {
                #request
                #response

                #[automatically_derived]
                impl #root::Remotable for #ident {
                    const NAME: &'static str = #name;
                    type Request = __Request;
                    type Response = #response_type;

                    fn into_remote(self) -> (__Request, ::core::option::Option<#root::Reply<#response_type>>) {
                        match self { #(#apart)* }
                    }

                    fn from_remote(
                        request: __Request,
                        reply: ::core::option::Option<#root::Reply<#response_type>>,
                    ) -> ::core::result::Result<Self, ::std::string::String> {
                        match request { #(#together)* }
                    }

                    fn schema() -> #root::SchemaHash {
                        static HASH: ::std::sync::OnceLock<#root::SchemaHash> = ::std::sync::OnceLock::new();
                        *HASH.get_or_init(|| #root::SchemaHash::message(#name, |to| { #schema }))
                    }
                }
            };
        }
    }

    fn crossing(&self) -> impl Iterator<Item = &Shape<'_>> {
        self.shapes.iter().filter(|shape| !shape.local)
    }

    fn has_local(&self) -> bool {
        self.shapes.iter().any(|shape| shape.local)
    }

    /// Whether the calls are answered with values of more than one type.
    fn answers_differ(&self) -> bool {
        let mut types = self.crossing().filter_map(Shape::reply).map(|ty| ty.to_token_stream().to_string());
        types.next().is_some_and(|first| types.any(|other| other != first))
    }

    fn serde(&self) -> (TokenStream, String) {
        let root = &self.root;
        let path = quote!(#root::derived::serde);
        let text = path.to_string().replace(' ', "");
        (path, text)
    }

    fn request(&self) -> TokenStream {
        let (serde, serde_text) = self.serde();
        let variants = self.crossing().map(|shape| {
            let ident = shape.ident;
            let fields = shape.crossing().map(|Field { binding, ty, .. }| quote!(#binding: #ty));
            quote!(#ident { #(#fields),* })
        });
        let vis = &self.input.vis;
        let local = self.has_local().then(|| quote!(DoesNotCross {},));
        quote! {
            #[derive(#serde::Serialize, #serde::Deserialize)]
            #[serde(crate = #serde_text)]
            #vis enum __Request { #(#variants,)* #local }
        }
    }

    fn response(&self) -> Option<TokenStream> {
        let (serde, serde_text) = self.serde();
        let variants = self.crossing().filter_map(|shape| {
            let (ident, reply) = (shape.ident, shape.reply()?);
            Some(quote!(#ident(#reply)))
        });
        let vis = &self.input.vis;
        self.answers_differ().then(|| {
            quote! {
                #[derive(#serde::Serialize, #serde::Deserialize)]
                #[serde(crate = #serde_text)]
                #vis enum __Response { #(#variants),* }
            }
        })
    }

    fn response_type(&self) -> TokenStream {
        if self.answers_differ() {
            return quote!(__Response);
        }
        self.crossing().find_map(Shape::reply).map_or_else(|| quote!(()), ToTokens::to_token_stream)
    }

    fn apart(&self) -> Vec<TokenStream> {
        let root = &self.root;
        let apart = |shape: &Shape<'_>| {
            let (message, request, ident) = (shape.message(), shape.request(), shape.ident);
            let reply = shape.fields.iter().find(|field| field.reply.is_some()).map(|field| &field.binding);
            if shape.local {
                let why = format!("{} of {} does not cross to another node", ident, self.name.value());
                let others = shape.crossing().map(|field| &field.binding);
                let refuse = reply.map(|reply| {
                    quote!(#reply.refuse(#root::derived::CallError::Rejected(::std::string::ToString::to_string(#why)));)
                });
                return quote! {
                    #message => {
                        #(drop(#others);)*
                        #refuse
                        (__Request::DoesNotCross {}, ::core::option::Option::None)
                    }
                };
            }
            let reply = match reply {
                None => quote!(::core::option::Option::None),
                Some(reply) if !self.answers_differ() => quote!(::core::option::Option::Some(#reply)),
                Some(reply) => quote! {
                    ::core::option::Option::Some(#root::Reply::new(
                        move |answer: ::core::result::Result<__Response, #root::derived::CallError>| match answer {
                            Ok(__Response::#ident(value)) => #reply.send(value),
                            Ok(_) => #reply.refuse(#root::derived::CallError::Rejected(
                                ::std::string::ToString::to_string("the answer is to another kind of request"),
                            )),
                            Err(error) => #reply.refuse(error),
                        },
                    ))
                },
            };
            quote!(#message => (#request, #reply),)
        };
        self.shapes.iter().map(apart).collect()
    }

    fn together(&self) -> Vec<TokenStream> {
        let root = &self.root;
        let together = |shape: &Shape<'_>| {
            let (message, request, ident) = (shape.message(), shape.request(), shape.ident);
            let Some((field, of)) = shape.fields.iter().find_map(|field| Some((field, field.reply?))) else {
                let why = format!("{ident} is told, not called");
                return quote! {
                    #request => match reply {
                        None => Ok(#message),
                        Some(_) => Err(::std::string::ToString::to_string(#why)),
                    },
                };
            };
            let why = format!("{ident} is called, not told");
            let binding = &field.binding;
            let reply = if self.answers_differ() {
                quote! {
                    #root::Reply::new(move |answer: ::core::result::Result<#of, #root::derived::CallError>| match answer {
                        Ok(value) => reply.send(__Response::#ident(value)),
                        Err(error) => reply.refuse(error),
                    })
                }
            } else {
                quote!(reply)
            };
            quote! {
                #request => match reply {
                    Some(reply) => {
                        let #binding = #reply;
                        Ok(#message)
                    }
                    None => Err(::std::string::ToString::to_string(#why)),
                },
            }
        };
        let mut arms: Vec<_> = self.crossing().map(together).collect();
        if self.has_local() {
            let why = format!("a message of {} that does not cross", self.name.value());
            arms.push(quote!(__Request::DoesNotCross {} => Err(::std::string::ToString::to_string(#why)),));
        }
        arms
    }

    fn schema(&self) -> TokenStream {
        let described = self.crossing().map(|shape| {
            let variant = shape.ident.to_string();
            let fields = shape.crossing().map(|Field { name, ty, .. }| quote!(to.field::<#ty>(#name);));
            let reply = shape.reply().map(|of| quote!(to.reply::<#of>();));
            quote! { to.variant(#variant); #(#fields)* #reply }
        });
        quote! { #(#described)* }
    }
}
