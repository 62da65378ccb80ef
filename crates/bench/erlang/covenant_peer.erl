%% The jobs of `covenant-bench peers` on Erlang/OTP: gen_server and supervisor, as they are.
-module(covenant_peer).
-behaviour(gen_server).
%% Also the callbacks of a supervisor; the two behaviours share init/1, and only one can be declared.
-export([main/1, init/1, handle_call/3, handle_cast/2, start/0, start_named/0]).

main([Job | Sizes]) ->
    {Casts, Calls, Spawns, Idle, Crashes, Stopped, Few, FewTimes} = list_to_tuple([list_to_integer(atom_to_list(S)) || S <- Sizes]),
    Numbers = case Job of
        'call' -> call(Calls);
        'cast' -> cast(Casts, 1);
        'cast-four' -> cast(Casts, 4);
        'spawn' -> start_many(Spawns), {T, _} = timer:tc(fun() -> start_many(Spawns) end), [T / 1.0e6 / Spawns];
        'memory' -> memory(Idle);
        'crash-error' -> crash(Crashes);
        'stop' -> [stop(static, Stopped), median([stop(static, Few) || _ <- lists:seq(1, FewTimes)])];
        'stop-instances' -> [stop(dynamic, Stopped), median([stop(dynamic, Few) || _ <- lists:seq(1, FewTimes)])]
    end,
    io:format("~s~n", [string:join([io_lib:format("~.12e", [N * 1.0]) || N <- Numbers], " ")]),
    halt(0).

call(N) ->
    {ok, P} = start(),
    ask(P, N div 10),
    {T, _} = timer:tc(fun() -> ask(P, N) end),
    [T / 1.0e6 / N].

ask(_, 0) -> ok;
ask(P, N) -> gen_server:call(P, counted), ask(P, N - 1).

cast(N, Senders) ->
    {ok, P} = start(),
    Me = self(),
    {T, _} = timer:tc(fun() ->
        [spawn_link(fun() -> tell(P, N div Senders), Me ! done end) || _ <- lists:seq(1, Senders)],
        [receive done -> ok end || _ <- lists:seq(1, Senders)],
        until(P, N)
    end),
    [N / (T / 1.0e6)].

tell(_, 0) -> ok;
tell(P, N) -> gen_server:cast(P, {count, 1}), tell(P, N - 1).

until(P, N) ->
    case gen_server:call(P, counted, infinity) of
        Counted when Counted >= N -> ok;
        _ -> until(P, N)
    end.

start_many(N) -> [begin {ok, P} = start(), P end || _ <- lists:seq(1, N)].

%% What the system says its processes take, as the resident memory of the machine grows in large steps.
memory(N) ->
    Before = erlang:memory(processes),
    All = start_many(N),
    [garbage_collect(P) || P <- All],
    garbage_collect(),
    [(erlang:memory(processes) - Before) / length(All)].

crash(N) ->
    register(meter, self()),
    {ok, _} = supervisor:start_link(?MODULE, []),
    receive {up, First} -> ok end,
    {_, Samples} = lists:foldl(fun(_, {P, S}) -> {Next, T} = crash_once(P), {Next, [T | S]} end, {First, []}, lists:seq(1, N)),
    Sorted = lists:sort(Samples),
    [lists:nth(N * 50 div 100 + 1, Sorted), lists:nth(N * 99 div 100 + 1, Sorted)].

%% The next one says that it is there, so that nobody spins on its name.
crash_once(P) ->
    gen_server:cast(P, {crash, self()}),
    Began = receive {crashing, At} -> At end,
    Next = receive {up, Pid} -> Pid end,
    _ = gen_server:call(Next, counted),
    {Next, (erlang:monotonic_time(nanosecond) - Began) / 1.0e9}.

%% How long it takes a supervisor to end with N children, for each of them.
stop(Kind, N) ->
    {ok, S} = supervisor:start_link(?MODULE, Kind),
    [{ok, _} = supervisor:start_child(S, child(Kind, I)) || I <- lists:seq(1, N)],
    unlink(S),
    M = monitor(process, S),
    {T, _} = timer:tc(fun() -> exit(S, shutdown), receive {'DOWN', M, _, _, _} -> ok end end),
    T / 1.0e6 / N.

child(static, I) -> #{id => I, start => {?MODULE, start, []}};
child(dynamic, _) -> [].

median(L) -> lists:nth(length(L) div 2 + 1, lists:sort(L)).

start() -> gen_server:start_link(?MODULE, server, []).
start_named() -> gen_server:start_link({local, one}, ?MODULE, named, []).

init(server) -> {ok, 0};
init(named) -> meter ! {up, self()}, {ok, 0};
init(static) -> {ok, {#{strategy => one_for_one}, []}};
init(dynamic) -> {ok, {#{strategy => simple_one_for_one}, [#{id => one, start => {?MODULE, start, []}}]}};
init([]) -> {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1},
                  [#{id => one, start => {?MODULE, start_named, []}}]}}.

handle_call(counted, _, N) -> {reply, N, N}.

handle_cast({count, M}, N) -> {noreply, N + M};
handle_cast({crash, Who}, N) ->
    Who ! {crashing, erlang:monotonic_time(nanosecond)},
    {stop, boom, N}.
