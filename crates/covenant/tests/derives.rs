//! The derives, as a package has them that depends on this one alone.

use covenant::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Remotable)]
#[remotable(name = "test.stock/1", crate = "covenant::runtime")]
enum Stock {
    Count(Article, Reply<u32>),
    Sold { article: Article, pieces: u32 },
    Subscribe(Ref<Stock>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Schema)]
#[schema(crate = "covenant::runtime")]
struct Article(String);

#[test]
fn a_derived_message_is_taken_apart_and_put_together_again() {
    let (request, reply) = Stock::Sold { article: Article("salt".to_owned()), pieces: 3 }.into_remote();
    assert!(reply.is_none());
    let Ok(Stock::Sold { article, pieces }) = Stock::from_remote(request, None) else { panic!("not the same") };
    assert_eq!((article, pieces), (Article("salt".to_owned()), 3));

    let (request, reply) = Stock::Count(Article("salt".to_owned()), Reply::new(|_| {})).into_remote();
    assert!(reply.is_some());
    let why = Stock::from_remote(request, None).err();
    assert_eq!(why.as_deref(), Some("Count is called, not told"));
    assert_eq!(Stock::NAME, "test.stock/1");
    let _a_reference_is_a_field_too: fn(Ref<Stock>) -> Stock = Stock::Subscribe;
}
