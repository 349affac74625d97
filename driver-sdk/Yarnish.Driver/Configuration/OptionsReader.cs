using System.Collections;
using System.Globalization;
using Microsoft.Extensions.Configuration;
using Yarnish.Status;

namespace Yarnish.Configuration;

/// <summary>Collects the settings of a session from its sources; each wrong one is named with the place it came from.</summary>
internal static class OptionsReader
{
    private const string Prefix = "Yarnish:";

    /// <summary>Keys of the other programs of a cluster: they may stand in a shared environment, and mean nothing here.</summary>
    private static readonly HashSet<string> KeysOfOtherPrograms = new(StringComparer.OrdinalIgnoreCase)
    {
        "RabbitMq", "Redis", "QueueFile", "ClusterName", "Urls", "DataDirectory", "NodeId", "MemoryBytes", "MilliCores",
    };

    private static readonly SortedDictionary<string, Action<YarnishOptions, string>> Keys = new(StringComparer.OrdinalIgnoreCase)
    {
        ["Name"] = (options, text) => options.Name = text,
        ["Address"] = (options, text) => options.Address = text,
        ["Secret"] = (options, text) => options.Secret = text,
        ["Queue"] = (options, text) => options.Queue = text,
        ["Executors"] = (options, text) => options.Executors = ExecutorRange.Parse(text),
        ["ExecutorMemory"] = (options, text) => options.ExecutorMemory = ParseBytes(text),
        ["ExecutorCores"] = (options, text) => options.ExecutorCores = ParseCount(text),
        ["Isolated"] = (options, text) => options.Isolated = ParseSwitch(text),
        ["Parallelism"] = (options, text) => options.Parallelism = ParseCount(text),
        ["Progress"] = (options, text) => options.Progress = ParseProgress(text),
        ["MaximumTaskFailures"] = (options, text) => options.MaximumTaskFailures = ParseCount(text),
        ["MaximumStageAttempts"] = (options, text) => options.MaximumStageAttempts = ParseCount(text),
        ["MaximumBroadcastBytes"] = (options, text) => options.MaximumBroadcastBytes = ParseBytes(text),
        ["MaximumResultBytes"] = (options, text) => options.MaximumResultBytes = ParseBytes(text),
        ["EventLog"] = (options, text) => options.EventLog = text,
        ["StatusUrl"] = (options, text) => options.StatusUrl = text,
        ["MaximumLaunchFailures"] = (options, text) => options.MaximumLaunchFailures = ParseCount(text),
        ["ExecutorTimeout"] = (options, text) => options.ExecutorTimeout = ParseSeconds(text),
        ["BrokerTimeout"] = (options, text) => options.BrokerTimeout = ParseSeconds(text),
        ["ConnectTimeout"] = (options, text) => options.ConnectTimeout = ParseSeconds(text),
        ["LocalityWait"] = (options, text) => options.LocalityWait = ParseSeconds(text),
        ["Speculation"] = (options, text) => options.Speculation = ParseSwitch(text),
        ["SpeculationQuantile"] = (options, text) => options.SpeculationQuantile = ParseRatio(text),
        ["SpeculationMultiplier"] = (options, text) => options.SpeculationMultiplier = ParseRatio(text),
        ["SpeculationMinimum"] = (options, text) => options.SpeculationMinimum = ParseSeconds(text),
        ["Exclusion"] = (options, text) => options.Exclusion = ParseSwitch(text),
        ["ExclusionFailures"] = (options, text) => options.ExclusionFailures = ParseCount(text),
        ["ExclusionTime"] = (options, text) => options.ExclusionTime = ParseSeconds(text),
        ["NowhereToRunTimeout"] = (options, text) => options.NowhereToRunTimeout = ParseSeconds(text),
        ["ExecutorBacklog"] = (options, text) => options.ExecutorBacklog = ParseSeconds(text),
        ["ExecutorIdle"] = (options, text) => options.ExecutorIdle = ParseSeconds(text),
        ["ExecutorCachedIdle"] = (options, text) => options.ExecutorCachedIdle = ParseSeconds(text),
    };

    private static readonly Dictionary<string, string> ShortForms = new(StringComparer.Ordinal)
    {
        ["--name"] = "Name",
        ["--address"] = "Address",
        ["--queue"] = "Queue",
        ["--executors"] = "Executors",
        ["--executor-memory"] = "ExecutorMemory",
        ["--executor-cores"] = "ExecutorCores",
        ["--parallelism"] = "Parallelism",
        ["--progress"] = "Progress",
    };

    /// <summary>Reads all sources but code.</summary>
    /// <param name="arguments">Arguments of the program.</param>
    /// <param name="environment">Environment variables.</param>
    /// <param name="files">Settings files, later ones win; missing ones are skipped.</param>
    /// <param name="remaining">The arguments that are the program's own, in order; <c>--</c> ends the session's.</param>
    /// <exception cref="YarnishConnectException">An unknown key or an invalid value.</exception>
    public static YarnishOptions Read(IReadOnlyList<string> arguments, IDictionary environment, IEnumerable<string> files, out IReadOnlyList<string> remaining)
    {
        var options = new YarnishOptions();
        foreach (var file in files.Where(File.Exists))
        {
            ReadFile(options, file);
        }
        foreach (var name in environment.Keys.OfType<string>().Where(name => name.StartsWith("Yarnish__", StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal))
        {
            Set(options, name["Yarnish__".Length..].Replace("__", ":", StringComparison.Ordinal), environment[name] as string ?? "", $"environment variable {name}");
        }
        remaining = ReadArguments(options, arguments);
        return options;
    }

    /// <summary>Checks what no single key can: called after code had its turn.</summary>
    /// <exception cref="YarnishConnectException">A value that cannot be.</exception>
    public static void Validate(YarnishOptions options)
    {
        Require(options.Executors.Minimum >= 0 && options.Executors.Maximum >= Math.Max(1, options.Executors.Minimum), "Executors", $"{options.Executors}", "a range such as 1..8");
        Require(options.ExecutorMemory >= 64L << 20, "ExecutorMemory", $"{options.ExecutorMemory} bytes", "at least 64 MiB");
        Require(options.ExecutorCores is >= 0 and <= 4096, "ExecutorCores", $"{options.ExecutorCores}", "0 to 4096");
        Require(options.Parallelism is >= 0 and <= 1_000_000, "Parallelism", $"{options.Parallelism}", "0 to 1,000,000");
        Require(options.MaximumTaskFailures is >= 1 and <= 255, "MaximumTaskFailures", $"{options.MaximumTaskFailures}", "1 to 255");
        Require(options.MaximumStageAttempts >= 1, "MaximumStageAttempts", $"{options.MaximumStageAttempts}", "at least 1");
        Require(IsStatusUrl(options.StatusUrl), "StatusUrl", $"'{options.StatusUrl}'", "off, or a URL such as http://127.0.0.1:0");
        Require(options.MaximumLaunchFailures >= 1, "MaximumLaunchFailures", $"{options.MaximumLaunchFailures}", "at least 1");
        Require(options.MaximumBroadcastBytes is >= 1 << 20 and <= 2047L << 20, "MaximumBroadcastBytes", $"{options.MaximumBroadcastBytes} bytes", "1 MiB to 2047 MiB");
        Require(options.MaximumResultBytes >= 1 << 20, "MaximumResultBytes", $"{options.MaximumResultBytes} bytes", "at least 1 MiB");
        Require(options.ExecutorTimeout >= TimeSpan.FromSeconds(3), "ExecutorTimeout", $"{options.ExecutorTimeout.TotalSeconds} s", "at least 3 s: an executor beats every 2 s");
        Require(options.LocalityWait >= TimeSpan.Zero, "LocalityWait", $"{options.LocalityWait.TotalSeconds} s", "0 s or more");
        Require(options.SpeculationQuantile is > 0 and <= 1, "SpeculationQuantile", $"{options.SpeculationQuantile}", "a share above 0 and up to 1");
        Require(options.SpeculationMultiplier is >= 1 and <= 1000, "SpeculationMultiplier", $"{options.SpeculationMultiplier}", "1 to 1000");
        Require(options.SpeculationMinimum >= TimeSpan.FromMilliseconds(10), "SpeculationMinimum", $"{options.SpeculationMinimum.TotalSeconds} s", "at least 0.01 s");
        Require(options.ExclusionFailures >= 1, "ExclusionFailures", $"{options.ExclusionFailures}", "at least 1");
        Require(options.ExclusionTime > TimeSpan.Zero, "ExclusionTime", $"{options.ExclusionTime.TotalSeconds} s", "more than 0 s");
        Require(options.NowhereToRunTimeout >= TimeSpan.FromSeconds(1), "NowhereToRunTimeout", $"{options.NowhereToRunTimeout.TotalSeconds} s", "at least 1 s");
        Require(options.ExecutorBacklog >= TimeSpan.FromMilliseconds(10), "ExecutorBacklog", $"{options.ExecutorBacklog.TotalSeconds} s", "at least 0.01 s");
        Require(options.ExecutorIdle >= TimeSpan.FromSeconds(1), "ExecutorIdle", $"{options.ExecutorIdle.TotalSeconds} s", "at least 1 s");
        Require(options.ExecutorCachedIdle >= options.ExecutorIdle, "ExecutorCachedIdle", $"{options.ExecutorCachedIdle.TotalSeconds} s", $"at least {Prefix}ExecutorIdle, {options.ExecutorIdle.TotalSeconds} s");
        foreach (var (name, pool) in options.Pools)
        {
            Require(!string.IsNullOrWhiteSpace(name) && name.Length <= 100, "Pools", $"a pool named '{name}'", "named by 1 to 100 characters that are not all blanks");
            Require(pool.Weight is >= 1 and <= 1_000_000, $"Pools:{name}:Weight", $"{pool.Weight}", "1 to 1,000,000");
            Require(pool.MinimumShare is >= 0 and <= 1_000_000, $"Pools:{name}:MinimumShare", $"{pool.MinimumShare}", "0 to 1,000,000");
        }
        Require(options.ConnectTimeout > TimeSpan.Zero, "ConnectTimeout", $"{options.ConnectTimeout.TotalSeconds} s", "more than 0 s");
        Require(
            options.Address.Length == 0 || (Uri.TryCreate(options.Address, UriKind.Absolute, out var address) && address.Scheme is "http" or "https"),
            "Address",
            $"'{options.Address}'",
            "the base URL of a resource manager, such as http://rm:8088");
    }

    private static bool IsStatusUrl(string url)
    {
        try
        {
            return url is "" or "off" || StatusServer.Parse(url).Port >= 0;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private static YarnishConnectException Wrong(string what, string why, string cure, Exception? inner = null) =>
        YarnishConnectException.Because(what, why, cure, inner, exitCode: 2);

    private static void Require(bool holds, string key, string value, string expected)
    {
        if (!holds)
        {
            throw Wrong($"The session cannot be opened: setting {Prefix}{key} is {value}.", $"it must be {expected}", $"change {Prefix}{key} (appsettings.json, environment, arguments or code)");
        }
    }

    private static void ReadFile(YarnishOptions options, string file)
    {
        IConfigurationRoot root;
        try
        {
            root = new ConfigurationBuilder().AddJsonFile(file, optional: false, reloadOnChange: false).Build();
        }
        catch (Exception error) when (error is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            throw Wrong($"The settings file {file} cannot be read.", error.InnerException?.Message ?? error.Message, "repair or remove the file", error);
        }
        foreach (var (key, value) in root.GetSection("Yarnish").AsEnumerable(makePathsRelative: true).Where(pair => pair.Value is not null))
        {
            Set(options, key, value!, file);
        }
    }

    private static List<string> ReadArguments(YarnishOptions options, IReadOnlyList<string> arguments)
    {
        var remaining = new List<string>();
        for (var i = 0; i < arguments.Count; i++)
        {
            var argument = arguments[i];
            if (argument == "--")
            {
                remaining.AddRange(arguments.Skip(i + 1));
                break;
            }
            var equals = argument.IndexOf('=', StringComparison.Ordinal);
            var name = equals < 0 ? argument : argument[..equals];
            string? key = null;
            if (name.StartsWith("--" + Prefix, StringComparison.OrdinalIgnoreCase))
            {
                key = name[(2 + Prefix.Length)..];
            }
            else if (ShortForms.TryGetValue(name, out var full))
            {
                key = full;
            }
            else if (argument is "--isolated")
            {
                options.Isolated = true;
                continue;
            }
            else if (argument is "--quiet")
            {
                options.Progress = ProgressStyle.None;
                continue;
            }
            if (key is null)
            {
                remaining.Add(argument);
                continue;
            }
            if (equals < 0 && i + 1 >= arguments.Count)
            {
                throw Wrong($"Argument {argument} has no value.", "it is the last argument", $"write {argument}=VALUE or {argument} VALUE");
            }
            Set(options, key, equals < 0 ? arguments[++i] : argument[(equals + 1)..], $"argument {name}");
        }
        return remaining;
    }

    private static void Set(YarnishOptions options, string key, string text, string source)
    {
        const string environmentPrefix = "ExecutorEnvironment:";
        if (key.StartsWith(environmentPrefix, StringComparison.OrdinalIgnoreCase) && key.Length > environmentPrefix.Length)
        {
            options.ExecutorEnvironment = options.ExecutorEnvironment.SetItem(key[environmentPrefix.Length..], text);
            return;
        }
        if (key.Split(':') is [var pools, var pool, var share] && pools.Equals("Pools", StringComparison.OrdinalIgnoreCase))
        {
            var known = options.Pools.GetValueOrDefault(pool, new PoolOptions());
            try
            {
                options.Pools = options.Pools.SetItem(pool, share.ToUpperInvariant() switch
                {
                    "WEIGHT" => known with { Weight = ParseCount(text.Trim()) },
                    "MINIMUMSHARE" => known with { MinimumShare = ParseCount(text.Trim()) },
                    _ => throw Wrong($"Unknown setting {Prefix}{key} in {source}.", $"a pool has no {share}", $"the settings of a pool are {Prefix}Pools:{pool}:Weight and {Prefix}Pools:{pool}:MinimumShare"),
                });
            }
            catch (FormatException error)
            {
                throw Wrong($"Setting {Prefix}{key} in {source} is not valid.", error.Message, "correct the value", error);
            }
            return;
        }
        if (!Keys.TryGetValue(key, out var set))
        {
            if (KeysOfOtherPrograms.Contains(key.Split(':')[0]))
            {
                return;
            }
            throw Wrong($"Unknown setting {Prefix}{key} in {source}.", Suggest(key), $"settings are {string.Join(", ", Keys.Keys)}, ExecutorEnvironment:NAME, Pools:NAME:Weight, Pools:NAME:MinimumShare");
        }
        try
        {
            set(options, text.Trim());
        }
        catch (FormatException error)
        {
            throw Wrong($"Setting {Prefix}{key} in {source} is not valid.", error.Message, "correct the value", error);
        }
    }

    private static string Suggest(string key)
    {
        var nearest = Keys.Keys.MinBy(known => Distance(known.ToUpperInvariant(), key.ToUpperInvariant()))!;
        return Distance(nearest.ToUpperInvariant(), key.ToUpperInvariant()) <= Math.Max(2, key.Length / 3) ? $"no setting has that name; {Prefix}{nearest} is similar" : "no setting has that name";
    }

    /// <summary>Levenshtein distance.</summary>
    private static int Distance(string left, string right)
    {
        var row = Enumerable.Range(0, right.Length + 1).ToArray();
        for (var i = 1; i <= left.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= right.Length; j++)
            {
                var above = row[j];
                row[j] = Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (left[i - 1] == right[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }
        return row[^1];
    }

    private static int ParseCount(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : throw new FormatException($"'{text}' is not a whole number of 0 or more.");

    private static double ParseRatio(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var ratio) ? ratio : throw new FormatException($"'{text}' is not a number such as 0.9.");

    private static bool ParseSwitch(string text) => text.ToUpperInvariant() switch
    {
        "TRUE" or "1" or "YES" or "ON" => true,
        "FALSE" or "0" or "NO" or "OFF" or "" => false,
        _ => throw new FormatException($"'{text}' is neither true nor false."),
    };

    private static ProgressStyle ParseProgress(string text) =>
        Enum.TryParse<ProgressStyle>(text, ignoreCase: true, out var style) && Enum.IsDefined(style) && !char.IsAsciiDigit(text[0])
            ? style
            : throw new FormatException($"'{text}' is none of auto, bars, lines, none.");

    private static TimeSpan ParseSeconds(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds) && seconds <= 86_400
            ? TimeSpan.FromSeconds(seconds)
            : throw new FormatException($"'{text}' is not a number of seconds (at most 86400).");

    /// <summary>Bytes with an optional binary unit: <c>512m</c>, <c>2g</c>, <c>1536MiB</c>, <c>1048576</c>.</summary>
    internal static long ParseBytes(string text)
    {
        var digits = text.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
        var shift = text[digits..].Trim().ToUpperInvariant() switch
        {
            "" or "B" => 0,
            "K" or "KB" or "KIB" => 10,
            "M" or "MB" or "MIB" => 20,
            "G" or "GB" or "GIB" => 30,
            "T" or "TB" or "TIB" => 40,
            _ => -1,
        };
        return shift >= 0 && decimal.TryParse(text[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var amount) && amount * (1L << shift) <= long.MaxValue / 2
            ? (long)(amount * (1L << shift))
            : throw new FormatException($"'{text}' is not a size: write bytes, or a number with a unit, such as 512m or 2g.");
    }
}
