//! The first words on a connection: each side says who it is, and both check it against the certificate.
