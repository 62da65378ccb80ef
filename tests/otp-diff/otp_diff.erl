%% Plays cases on OTP's own supervisor. One case a term on stdin; for each, one line for the boot and one for each step on
%% stdout, then a line with a dot. Nothing here sleeps: after each step every supervisor is asked until none is busy.
-module(otp_diff).
-behaviour(supervisor).
-export([main/0, init/1, start_worker/2, start_supervisor/3]).

%% How often each path was started, who runs where, which starts are to fail or to be ignored, and who was started and asked
%% to stop since the last step, in order.
-define(TABLES, [starts, paths, fails, ignored, log]).

main() ->
    process_flag(trap_exit, true),
    [ets:new(Table, [named_table, public, ordered_set]) || Table <- ?TABLES],
    loop().

loop() ->
    case io:read('') of
        {ok, {'case', Tree, Steps}} ->
            play(Tree, Steps),
            io:put_chars(".\n"),
            loop();
        eof ->
            halt(0);
        Other ->
            io:format("not a case: ~p~n.~n", [Other]),
            halt(1)
    end.

play(Tree, Steps) ->
    [ets:delete_all_objects(Table) || Table <- ?TABLES],
    {ok, Root} = supervisor:start_link(?MODULE, {"", Tree}),
    Booted = settle(Root),
    tell("boot", Booted),
    Last = lists:foldl(
        fun(Step, Before) ->
            Word = step(Step, Root, Before),
            After = settle(Root, Before),
            tell(Word, After),
            After
        end,
        Booted,
        Steps
    ),
    clear(Root, Last).

clear(_, {exited, _}) ->
    ok;
clear(Root, _) ->
    exit(Root, shutdown),
    receive
        {'EXIT', Root, _} -> ok
    end.

%% --- what the supervisors are

init({Path, {sup, Strategy, Intensity, AutoShutdown, Children}}) ->
    Flags = #{strategy => Strategy, intensity => Intensity, period => 3600, auto_shutdown => AutoShutdown},
    {ok, {Flags, [spec(Path, Strategy, Child) || Child <- Children]}}.

spec(Path, Strategy, {child, Id, Restart, Shutdown, Significant, Work}) ->
    %% The id of an instance is added when it is started.
    Last =
        case Strategy of
            simple_one_for_one -> [];
            _ -> [Id]
        end,
    {Start, Type} =
        case Work of
            worker -> {{?MODULE, start_worker, [Path | Last]}, worker};
            _ -> {{?MODULE, start_supervisor, [Path, Work | Last]}, supervisor}
        end,
    #{id => Id, start => Start, restart => Restart, shutdown => Shutdown, significant => Significant, type => Type}.

start_worker(Above, Id) ->
    Supervisor = self(),
    start(below(Above, Id), fun(Path) ->
        Pid = spawn_link(fun() ->
            process_flag(trap_exit, true),
            Supervisor ! {ready, self()},
            worker(Path)
        end),
        receive
            {ready, Pid} -> {ok, Pid}
        end
    end).

start_supervisor(Above, Tree, Id) ->
    start(below(Above, Id), fun(Path) -> supervisor:start_link(?MODULE, {Path, Tree}) end).

start(Path, Begin) ->
    %% Those that fail come first: an ignored start is kept while there are any.
    case take(fails, Path) of
        true ->
            {error, start_fails};
        false ->
            case take(ignored, Path) of
                true -> ignore;
                false -> begun(Path, Begin(Path))
            end
    end.

begun(Path, {ok, Pid}) ->
    ets:update_counter(starts, Path, 1, {Path, 0}),
    ets:insert(paths, {Pid, Path}),
    note(start, Path),
    {ok, Pid};
begun(_, Other) ->
    Other.

-spec worker(string()) -> no_return().
worker(Path) ->
    receive
        {exit, Reason} ->
            exit(Reason);
        {'EXIT', _, Reason} ->
            Reason =:= shutdown andalso note(stop, Path),
            exit(Reason)
    end.

note(What, Path) -> ets:insert(log, {erlang:unique_integer([monotonic]), What, Path}).

below(Above, Id) -> Above ++ "/" ++ Id.

take(Table, Path) ->
    case ets:lookup(Table, Path) of
        [{_, Times}] when Times > 0 -> ets:insert(Table, {Path, Times - 1});
        _ -> false
    end.

%% --- what happens to them

step({exit, Path, Reason}, Root, Before) ->
    case ended(Path, Reason, Root, Before) of
        true -> "done";
        false -> "ignored"
    end;
step({together, [{exit, First, _} | _] = Events}, Root, Before) ->
    %% Their supervisor looks at its messages when all of them are there.
    Supervisor = above(First, Root, Before),
    {Exits, Calls} = lists:partition(fun(Event) -> element(1, Event) =:= exit end, Events),
    held(Supervisor, fun(Pid) -> sys:suspend(Pid) end),
    Ended = [ended(Path, Reason, Root, Before) || {exit, Path, Reason} <- Exits],
    Callers = [caller(Supervisor, Call, Root, Before) || Call <- Calls],
    held(Supervisor, fun(Pid) -> sys:resume(Pid) end),
    Answers = [receive {answer, Caller, Word} -> [", ", Word] end || Caller <- Callers],
    io_lib:format("together, ~p ignored~s", [length([false || false <- Ended]), Answers]);
step({start_fails, Path, Times}, _, _) ->
    ets:insert(fails, {Path, Times}),
    "done";
step({start_ignored, Path, Times}, _, _) ->
    ets:insert(ignored, {Path, Times}),
    "done";
step({call, Call, Path, Id, More}, Root, Before) ->
    case above(Path, Root, Before) of
        {running, Supervisor, supervisor} -> word(call(Call, Supervisor, Path, Id, More, Before), Call);
        _ -> "noproc"
    end.

%% A call that waits among the messages of a supervisor that is held.
caller(Supervisor, Call, Root, Before) ->
    Us = self(),
    Length = fun(Pid) -> process_info(Pid, message_queue_len) end,
    Earlier = held(Supervisor, Length),
    Caller = spawn(fun() ->
        Word =
            try
                step(Call, Root, Before)
            catch
                exit:_ -> "noproc"
            end,
        Us ! {answer, self(), Word}
    end),
    changed(Earlier, fun() -> held(Supervisor, Length) end),
    Caller.

changed(ok, _) ->
    ok;
changed(Earlier, Ask) ->
    case Ask() of
        Earlier ->
            erlang:yield(),
            changed(Earlier, Ask);
        _ ->
            ok
    end.

held({running, Pid, supervisor}, Do) -> Do(Pid);
held(_, _) -> ok.

ended(Path, Reason, Root, Before) ->
    case there(Path, Root, Before) of
        {running, Pid, Type} ->
            %% It may have ended in the same step.
            is_process_alive(Pid) andalso
                begin
                    finish(Pid, Reason),
                    heard(above(Path, Root, Before), Pid),
                    Type =:= supervisor andalso orphaned(Path, Before),
                    true
                end;
        _ ->
            false
    end.

%% Those below a supervisor that was killed end on their own, in no order, and nobody waits for them but we.
orphaned(Path, Before) ->
    put(killed_supervisor, true),
    Below = string:trim(Path, trailing, "/") ++ "/",
    [gone(Pid) || {At, running, Pid, _} <- Before, lists:prefix(Below, At)].

finish(Pid, kill) -> exit(Pid, kill);
finish(Pid, Reason) -> Pid ! {exit, Reason}.

call(terminate_child, Supervisor, Path, _, dynamic, Before) ->
    case lists:keyfind(Path, 1, Before) of
        {_, running, Pid, _} ->
            supervisor:terminate_child(Supervisor, Pid);
        false ->
            Dead = spawn(fun() -> ok end),
            gone(Dead),
            supervisor:terminate_child(Supervisor, Dead)
    end;
call(start_child, Supervisor, _, Id, dynamic, _) ->
    supervisor:start_child(Supervisor, [Id]);
call(start_child, Supervisor, Path, Id, {Restart, Shutdown, Significant}, _) ->
    Above = lists:sublist(Path, length(Path) - length(Id) - 1),
    supervisor:start_child(Supervisor, spec(Above, one_for_one, {child, Id, Restart, Shutdown, Significant, worker}));
call(Call, Supervisor, _, Id, _, _) ->
    supervisor:Call(Supervisor, Id).

word(ok, _) -> "ok";
word({ok, _}, _) -> "ok";
word({error, {already_started, _}}, _) -> "already_started";
word({error, simple_one_for_one}, _) -> "dynamic";
word({error, start_fails}, _) -> "start_failed";
word({error, {start_fails, _}}, _) -> "start_failed";
word({error, {shutdown, {failed_to_start_child, _, _}}}, _) -> "start_failed";
word({error, {{shutdown, {failed_to_start_child, _, _}}, _}}, _) -> "start_failed";
word({error, Word}, _) when is_atom(Word) -> atom_to_list(Word);
word({error, _}, start_child) -> "bad_spec".

%% Who is at a path, and who supervises it.
there("/", Root, {exited, _}) -> {exited, Root, supervisor};
there("/", Root, _) -> {running, Root, supervisor};
there(_, _, {exited, _}) -> none;
there(Path, _, Before) ->
    case lists:keyfind(Path, 1, Before) of
        {_, State, Pid, Type} -> {State, Pid, Type};
        false -> none
    end.

above("/", _, _) ->
    {running, self(), main};
above(Path, Root, Before) ->
    case string:split(Path, "/", trailing) of
        [[], _] -> there("/", Root, Before);
        [Above, _] -> there(Above, Root, Before)
    end.

%% Waits until a supervisor has the exit of its child among its messages: its link is gone then.
heard({running, Supervisor, _}, Pid) ->
    case process_info(Supervisor, links) of
        {links, Links} ->
            case lists:member(Pid, Links) of
                true ->
                    erlang:yield(),
                    heard({running, Supervisor, supervisor}, Pid);
                false ->
                    ok
            end;
        undefined ->
            ok
    end.

gone(Pid) ->
    case is_process_alive(Pid) of
        true ->
            erlang:yield(),
            gone(Pid);
        false ->
            ok
    end.

%% --- where they stand

settle(_, {exited, Reason}) -> {exited, Reason};
settle(Root, _) -> settle(Root).

%% Asks every supervisor, again and again, until none of them knows of a child that is dead or being restarted. A supervisor
%% that answers so has nothing left to hear: whoever has died is in its list until it hears of it.
settle(Root) ->
    case is_process_alive(Root) of
        false ->
            receive
                {'EXIT', Root, Reason} -> {exited, Reason}
            end;
        true ->
            try
                lists:sort(ask(Root, ""))
            catch
                throw:busy ->
                    erlang:yield(),
                    settle(Root)
            end
    end.

ask(Supervisor, Path) ->
    Children =
        try
            supervisor:which_children(Supervisor)
        catch
            exit:_ -> throw(busy)
        end,
    lists:append([child(Path, Child) || Child <- Children]).

child(_, {_, restarting, _, _}) ->
    throw(busy);
child(Path, {Id, undefined, Type, _}) ->
    [{below(Path, Id), undefined, undefined, Type}];
child(Path, {Id, Pid, Type, _}) ->
    is_process_alive(Pid) orelse throw(busy),
    At =
        case Id of
            undefined -> ets:lookup_element(paths, Pid, 2);
            _ -> below(Path, Id)
        end,
    [{At, running, Pid, Type} | case Type of supervisor -> ask(Pid, At); worker -> [] end].

tell(Word, State) ->
    Known =
        case State of
            {exited, _} -> [];
            _ -> [{Path, Standing} || {Path, Standing, _, _} <- State]
        end,
    Gone = [{Path, gone} || {Path, _} <- ets:tab2list(starts), not lists:keymember(Path, 1, Known)],
    Root =
        case State of
            {exited, Reason} -> io_lib:format("exited ~p", [Reason]);
            _ -> "running"
        end,
    Paths = [io_lib:format(" ~s=~s:~p", [Path, Standing, started(Path)]) || {Path, Standing} <- lists:sort(Known ++ Gone)],
    io:put_chars([Word, " | ", Root, " |", Paths, " | started", noted(start), " | stopped", stops(), "\n"]),
    ets:delete_all_objects(log).

noted(What) -> [[" ", Path] || {_, Noted, Path} <- ets:tab2list(log), Noted =:= What].

stops() ->
    case erase(killed_supervisor) of
        true -> " (a supervisor was killed)";
        undefined -> noted(stop)
    end.

started(Path) ->
    case ets:lookup(starts, Path) of
        [{_, Times}] -> Times;
        [] -> 0
    end.
