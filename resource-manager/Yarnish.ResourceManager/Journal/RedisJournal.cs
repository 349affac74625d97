using System.Collections.Immutable;
using System.Globalization;
using StackExchange.Redis;

namespace Yarnish.ResourceManager.Journal;

/// <summary>
/// The journal in one Redis hash, <c>y:rm:&lt;cluster&gt;:state</c>: field <c>epoch</c> and one field per entry. One key, so that a script can fence every
/// write by the epoch in one step. A copy of the entries stays in memory: an outage or a flush of Redis costs nothing but a rewrite.
/// </summary>
internal sealed partial class RedisJournal : IClusterJournal
{
    private const string EpochField = "epoch";

    private const string TakeEpoch = """
        local known = math.max(tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') or 0, tonumber(ARGV[1]))
        local epoch = known > 0 and known + 1 or tonumber(ARGV[2])
        redis.call('HSET', KEYS[1], 'epoch', epoch)
        return epoch
        """;

    // ARGV: epoch, whether this is a complete rewrite, number of fields to set, their names and values, names of fields to delete.
    private const string Write = """
        local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0') or 0
        local mine = tonumber(ARGV[1])
        if epoch > mine then return epoch end
        if ARGV[2] == '1' then
            redis.call('DEL', KEYS[1])
            redis.call('HSET', KEYS[1], 'epoch', mine)
        elseif epoch < mine then
            return epoch
        end
        local last = 3 + 2 * tonumber(ARGV[3])
        for i = 4, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
        for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
        return mine
        """;

    private static readonly TimeSpan ConnectPatience = TimeSpan.FromSeconds(3);

    private static readonly DateTimeOffset FirstYear = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly ConfigurationOptions _configuration;
    private readonly TimeProvider _clock;
    private readonly RedisKey[] _keys;
    private readonly EpochFile _epochFile;
    private readonly ILogger _logger;
    private readonly string _where;
    private readonly Dictionary<string, string> _entries = new(StringComparer.Ordinal);
    private ConnectionMultiplexer? _connection;
    private int _epoch;
    private bool _behind;
    private volatile string _problem = "The journal was not opened yet.";

    /// <summary>A journal that connects when it is opened.</summary>
    /// <param name="configuration">StackExchange.Redis configuration.</param>
    /// <param name="cluster">Name of the cluster.</param>
    /// <param name="epochFile">Remembers the epoch on this machine.</param>
    /// <param name="clock">Gives the very first epoch.</param>
    /// <param name="logger">Told when the journal goes and comes.</param>
    public RedisJournal(string configuration, string cluster, EpochFile epochFile, TimeProvider clock, ILogger logger)
    {
        _clock = clock;
        _configuration = ConfigurationOptions.Parse(configuration);
        _configuration.AbortOnConnectFail = false;
        _configuration.BacklogPolicy = BacklogPolicy.FailFast;
        _configuration.ConnectTimeout = (int)ConnectPatience.TotalMilliseconds;
        _configuration.AsyncTimeout = 3000;
        _configuration.ClientName ??= "yarnish-rm";
        _keys = [$"y:rm:{cluster}:state"];
        _epochFile = epochFile;
        _logger = logger;
        _where = string.Join(", ", _configuration.EndPoints.Select(endpoint => endpoint is System.Net.DnsEndPoint dns ? $"{dns.Host}:{dns.Port}" : endpoint.ToString()));
    }

    /// <inheritdoc/>
    public string Problem => _problem;

    /// <inheritdoc/>
    public async Task<JournalImage> OpenAsync(CancellationToken cancellation)
    {
        try
        {
            _connection ??= await ConnectionMultiplexer.ConnectAsync(_configuration);
            var database = _connection.GetDatabase();
            var epoch = (int)await database.ScriptEvaluateAsync(TakeEpoch, _keys, [_epochFile.Read(), FirstEpoch()]);
            _epochFile.Write(epoch);
            _entries.Clear();
            foreach (var field in await database.HashGetAllAsync(_keys[0]))
            {
                if (field.Name != EpochField)
                {
                    _entries[field.Name!] = field.Value!;
                }
            }
            _epoch = epoch;
            _problem = "";
            return new JournalImage(epoch, _entries.ToImmutableSortedDictionary(StringComparer.Ordinal));
        }
        catch (Exception error) when (IsOutage(error))
        {
            _problem = Describe(error);
            throw new JournalUnavailableException(_problem, error);
        }
    }

    /// <inheritdoc/>
    public async Task<JournalOutcome> WriteAsync(IReadOnlyCollection<JournalChange> changes, CancellationToken cancellation)
    {
        foreach (var (key, value) in changes)
        {
            if (value is null)
            {
                _entries.Remove(key);
            }
            else
            {
                _entries[key] = value;
            }
        }
        if (_connection is not { IsConnected: true } connection)
        {
            return Fall(null);
        }
        try
        {
            var database = connection.GetDatabase();
            var found = (int)await database.ScriptEvaluateAsync(Write, _keys, _behind ? Everything() : Only(changes));
            if (found < _epoch)
            {
                // Emptied, or set back to an older copy: what we know is newer.
                Log.Emptied(_logger, _where, _entries.Count);
                found = (int)await database.ScriptEvaluateAsync(Write, _keys, Everything());
            }
            if (found > _epoch)
            {
                _problem = $"Another resource manager of this cluster took over with epoch {found}; this one has {_epoch}.";
                return JournalOutcome.Deposed;
            }
            if (_problem.Length > 0)
            {
                Log.Back(_logger, _where, _entries.Count);
            }
            _behind = false;
            _problem = "";
            return JournalOutcome.Written;
        }
        catch (Exception error) when (IsOutage(error))
        {
            return Fall(error);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_connection is not null)
        {
            await _connection.DisposeAsync();
        }
    }

    // When neither Redis nor this machine remembers, agents and running containers may still: minutes are more than there were lives before.
    private int FirstEpoch() => (int)Math.Max(1, (_clock.GetUtcNow() - FirstYear).TotalMinutes);

    private static bool IsOutage(Exception error) => error is RedisException or TimeoutException or ObjectDisposedException or System.Net.Sockets.SocketException;

    private JournalOutcome Fall(Exception? error)
    {
        _behind = true;
        if (_problem.Length == 0)
        {
            _problem = Describe(error);
            Log.Lost(_logger, _problem);
        }
        return JournalOutcome.Unavailable;
    }

    private string Describe(Exception? error)
    {
        var why = error switch
        {
            null or RedisConnectionException => "it does not accept connections",
            RedisServerException or RedisCommandException => error.Message,
            _ => error.GetType().Name + ": " + error.Message,
        };
        return $"Redis at {_where} cannot be used as journal: {why}. Start it, or set Yarnish__Redis to where it is.";
    }

    private RedisValue[] Only(IReadOnlyCollection<JournalChange> changes)
    {
        // The last change of a key wins, also inside one group.
        var last = new Dictionary<string, string?>(StringComparer.Ordinal);
        foreach (var (key, value) in changes)
        {
            last[key] = value;
        }
        return Arguments(false, last.Where(pair => pair.Value is not null).Select(pair => (pair.Key, pair.Value!)), last.Where(pair => pair.Value is null).Select(pair => pair.Key));
    }

    private RedisValue[] Everything() => Arguments(true, _entries.Select(pair => (pair.Key, pair.Value)), []);

    private RedisValue[] Arguments(bool complete, IEnumerable<(string Key, string Value)> set, IEnumerable<string> delete)
    {
        List<RedisValue> arguments = [_epoch, complete ? "1" : "0", ""];
        var count = 0;
        foreach (var (key, value) in set)
        {
            arguments.Add(key);
            arguments.Add(value);
            count++;
        }
        arguments[2] = count.ToString(CultureInfo.InvariantCulture);
        arguments.AddRange(delete.Select(key => (RedisValue)key));
        return [.. arguments];
    }

    private static partial class Log
    {
        [LoggerMessage(120, LogLevel.Warning, "{Problem} Scheduling goes on; what happens now is written down when it is back.")]
        public static partial void Lost(ILogger logger, string problem);

        [LoggerMessage(121, LogLevel.Information, "Redis at {Where} is back; wrote {Entries} journal entries.")]
        public static partial void Back(ILogger logger, string where, int entries);

        [LoggerMessage(122, LogLevel.Warning, "The journal in Redis at {Where} was emptied; writing its {Entries} entries again.")]
        public static partial void Emptied(ILogger logger, string where, int entries);
    }
}
