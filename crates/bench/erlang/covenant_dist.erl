%% The two ends of `covenant-bench remote` on Erlang/OTP: a gen_server on one node, whoever asks it on another.
-module(covenant_dist).
-behaviour(gen_server).
-export([certificates/0, serve/0, measure/1, init/1, handle_call/3, handle_cast/2]).

%% Writes tls.conf for both ends: each proves itself by a certificate of one authority, as our nodes do.
certificates() ->
    Key = [{digest, sha256}, {key, {namedCurve, secp256r1}}],
    %% The record 'Extension' of public_key, whose header is not part of a packaged OTP; 2.5.29.17 is subjectAltName.
    Name = {'Extension', {2, 5, 29, 17}, false, [{dNSName, "localhost"}]},
    Chain = #{root => Key, intermediates => [], peer => [{extensions, [Name]} | Key]},
    #{server_config := Server, client_config := Client} =
        public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    Ends = [{server, [{fail_if_no_peer_cert, true} | options("server", Server)]}, {client, options("client", Client)}],
    ok = file:write_file("tls.conf", io_lib:format("~p.~n", [Ends])),
    halt(0).

options(Name, Config) ->
    {Type, Der} = proplists:get_value(key, Config),
    Write = fun(Suffix, Entries) ->
        File = filename:absname(Name ++ Suffix),
        ok = file:write_file(File, public_key:pem_encode([{T, D, not_encrypted} || {T, D} <- Entries])),
        File
    end,
    Own = Write(".pem", [{'Certificate', proplists:get_value(cert, Config)}]),
    Authorities = Write("-ca.pem", [{'Certificate', D} || D <- proplists:get_value(cacerts, Config)]),
    [{certfile, Own}, {keyfile, Write("-key.pem", [{Type, Der}])}, {cacertfile, Authorities},
     {verify, verify_peer}, {versions, ['tlsv1.3']}].

serve() ->
    {ok, _} = gen_server:start({local, subject}, ?MODULE, [], []),
    io:format("ready~n").

measure([Peer, Calls, Casts, LargeCasts, Rounds]) ->
    pong = net_adm:ping(Peer),
    To = {subject, Peer},
    [Calls1, Casts1, Large1, Rounds1] = [list_to_integer(atom_to_list(N)) || N <- [Calls, Casts, LargeCasts, Rounds]],
    [begin
        {P50, P99} = calls(To, Calls1, binary:copy(<<42>>, 100)),
        Rate = casts(To, Casts1, binary:copy(<<42>>, 100)),
        Large = casts(To, Large1, binary:copy(<<42>>, 10240)),
        io:format("~.12e ~.12e ~.12e ~.12e~n", [P50, P99, Rate, Large])
     end || _ <- lists:seq(0, Rounds1)],
    halt(0).

calls(To, N, Payload) ->
    Samples = lists:sort([begin
        Began = erlang:monotonic_time(nanosecond),
        Payload = gen_server:call(To, {echo, Payload}),
        (erlang:monotonic_time(nanosecond) - Began) / 1.0e9
    end || _ <- lists:seq(1, N)]),
    {lists:nth(N * 50 div 100 + 1, Samples), lists:nth(N * 99 div 100 + 1, Samples)}.

casts(To, N, Payload) ->
    Before = gen_server:call(To, counted, infinity),
    {T, _} = timer:tc(fun() -> tell(To, N, Payload), until(To, Before + N) end),
    N / (T / 1.0e6).

tell(_, 0, _) -> ok;
tell(To, N, Payload) -> gen_server:cast(To, {count, Payload}), tell(To, N - 1, Payload).

until(To, N) ->
    case gen_server:call(To, counted, infinity) of
        Counted when Counted >= N -> ok;
        _ -> until(To, N)
    end.

init([]) -> {ok, 0}.

handle_call({echo, Payload}, _, N) -> {reply, Payload, N};
handle_call(counted, _, N) -> {reply, N, N}.

handle_cast({count, _}, N) -> {noreply, N + 1}.
