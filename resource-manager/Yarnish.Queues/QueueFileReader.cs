using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Yarnish.Protocol;
using Yarnish.Scheduling;

namespace Yarnish.Queues;

/// <summary>Reads the queue file, see docs/queues.md. Every error is found at once and says in which line and at which key it is.</summary>
public static class QueueFileReader
{
    /// <summary>Most bytes of a queue file: 1 MiB. A larger one is refused before it is read.</summary>
    public const int MaximumBytes = 1 << 20;

    private const int MaximumErrors = 100;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="text">What it holds; empty when it could not be read.</param>
    public static QueueFileResult ReadFile(string path, out string text)
    {
        text = "";
        try
        {
            using var stream = File.OpenRead(path);
            if (stream.CanSeek && stream.Length > MaximumBytes)
            {
                return Refused(1, "", $"{path} has {stream.Length} bytes: a queue file has at most {MaximumBytes}.");
            }
            // Not every file knows its length, and one may grow meanwhile.
            var buffer = new byte[MaximumBytes + 1];
            var length = stream.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            if (length > MaximumBytes)
            {
                return Refused(1, "", $"{path} has more than {MaximumBytes} bytes, the most a queue file may have.");
            }
            text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(buffer.AsSpan(0, length)).TrimStart('\uFEFF');
            return Read(text);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return Refused(1, "", $"{path} cannot be read: {error.Message}");
        }
        catch (DecoderFallbackException)
        {
            return Refused(1, "", $"{path} is not UTF-8 text.");
        }
    }

    /// <summary>Reads a text.</summary>
    /// <param name="text">YAML.</param>
    public static QueueFileResult Read(string text)
    {
        if (text.Length > MaximumBytes)
        {
            return Refused(1, "", $"The text has {text.Length} characters: a queue file has at most {MaximumBytes} bytes.");
        }
        YamlNode? tree;
        try
        {
            tree = YamlTree.Read(text);
        }
        catch (YamlRefusedException error)
        {
            return Refused(error.Line, error.Key, error.Message);
        }
        if (tree is null or YamlScalar { Empty: true })
        {
            return Refused(1, "", "The file is empty: it must at least hold 'root:' with its queues.");
        }
        var reading = new Reading();
        var configuration = reading.Cluster(tree);
        if (reading.Errors.Count == 0)
        {
            var located = new QueueFileResult(configuration, [], reading.Lines, reading.Queues);
            foreach (var error in ConfigurationCheck.Validate(configuration))
            {
                reading.Fail(located.LineOf(error.Path), error.Path, error.Message);
            }
        }
        var errors = reading.Errors.OrderBy(error => error.Line).Take(MaximumErrors).ToImmutableArray();
        return new QueueFileResult(errors.IsEmpty ? configuration : null, errors, reading.Lines, reading.Queues);
    }

    /// <summary>Reads an amount of memory such as <c>512m</c>, <c>2g</c>, <c>1.5 GiB</c>; units are binary and must be said.</summary>
    /// <param name="text">The text.</param>
    /// <param name="bytes">Bytes.</param>
    public static bool TryReadMemory(string text, out long bytes)
    {
        bytes = 0;
        text = text.Trim();
        var digits = 0;
        while (digits < text.Length && (char.IsAsciiDigit(text[digits]) || text[digits] == '.'))
        {
            digits++;
        }
        var shift = text[digits..].Trim().ToUpperInvariant() switch
        {
            "K" or "KB" or "KIB" => 10,
            "M" or "MB" or "MIB" => 20,
            "G" or "GB" or "GIB" => 30,
            "T" or "TB" or "TIB" => 40,
            "P" or "PB" or "PIB" => 50,
            _ => -1,
        };
        if (text == "0")
        {
            return true;
        }
        if (shift < 0 || !decimal.TryParse(text.AsSpan(0, digits), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            || number > (decimal)long.MaxValue / (1L << shift))
        {
            return false;
        }
        bytes = (long)(number * (1L << shift));
        return true;
    }

    /// <summary>Reads a number of cores such as <c>4</c>, <c>1.5</c> or <c>500m</c> (thousandths).</summary>
    /// <param name="text">The text.</param>
    /// <param name="milliCores">Thousandths of a core.</param>
    public static bool TryReadCores(string text, out long milliCores)
    {
        milliCores = 0;
        text = text.Trim();
        var thousandths = text.EndsWith('m');
        if (!decimal.TryParse(thousandths ? text[..^1] : text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number) || number > 1_000_000_000)
        {
            return false;
        }
        milliCores = (long)(thousandths ? number : number * 1000);
        return true;
    }

    /// <summary>Reads a time such as <c>250ms</c>, <c>30s</c>, <c>5m</c>, <c>2h</c>, <c>1d</c>.</summary>
    /// <param name="text">The text.</param>
    /// <param name="time">The time.</param>
    public static bool TryReadTime(string text, out TimeSpan time)
    {
        time = default;
        text = text.Trim();
        var (unit, ticks) = text switch
        {
            _ when text.EndsWith("ms", StringComparison.Ordinal) => (2, TimeSpan.TicksPerMillisecond),
            _ when text.EndsWith('s') => (1, TimeSpan.TicksPerSecond),
            _ when text.EndsWith('m') => (1, TimeSpan.TicksPerMinute),
            _ when text.EndsWith('h') => (1, TimeSpan.TicksPerHour),
            _ when text.EndsWith('d') => (1, TimeSpan.TicksPerDay),
            _ => (0, text == "0" ? 1L : 0L),
        };
        if (ticks == 0 || !decimal.TryParse(text.AsSpan(0, text.Length - unit).Trim(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number)
            || number * ticks > TimeSpan.TicksPerDay * 36_500m)
        {
            return false;
        }
        time = TimeSpan.FromTicks((long)(number * ticks));
        return true;
    }

    private static QueueFileResult Refused(int line, string key, string message) => new(null, [new QueueFileError(line, key, message)], [], []);

    private sealed class Reading
    {
        public Dictionary<string, int> Lines { get; } = new(StringComparer.Ordinal);

        public Dictionary<string, int> Queues { get; } = new(StringComparer.Ordinal);

        public List<QueueFileError> Errors { get; } = [];

        public void Fail(int line, string key, string message) => Errors.Add(new QueueFileError(line, key, message));

        public ClusterConfiguration Cluster(YamlNode tree)
        {
            var standard = new ClusterConfiguration();
            if (Open(tree, "") is not { } section)
            {
                return standard;
            }
            var result = standard with
            {
                Root = section.Take("root") is { } root ? Queue(root, "root", null, "root") : standard.Root,
                Rules = section.List("rules", Rule),
                Partitions = section.List("partitions", Partition),
                NodeOrder = section.Choice<NodeOrder>("nodeOrder") ?? standard.NodeOrder,
                Preemption = section.Take("preemption") is { } preemption ? Preemption(preemption, standard.Preemption) : standard.Preemption,
                ReservedNodesPercent = section.Percentage("reservedNodesPercent") ?? standard.ReservedNodesPercent,
                ReservationsPerApplication = section.Whole("reservationsPerApplication") ?? standard.ReservationsPerApplication,
            };
            section.Close();
            return result;
        }

        // The name of root and of a template is fixed; every other queue says its own.
        private QueueConfiguration Queue(YamlNode node, string key, string? parent, string? name)
        {
            if (Open(node, key) is not { } section)
            {
                return new QueueConfiguration(name ?? "");
            }
            if (name is null)
            {
                name = section.Text("name");
                if (name is null)
                {
                    Fail(node.Line, key + ".name", "A queue needs a name.");
                    name = "";
                }
            }
            var path = parent is null ? name : $"{parent}.{name}";
            Queues.TryAdd(path, node.Line);
            var result = new QueueConfiguration(name)
            {
                State = section.Choice<QueueState>("state") ?? QueueState.Running,
                Guarantee = section.Part("guarantee", weightAllowed: true),
                Maximum = section.Part("maximum", weightAllowed: false),
                Partitions = section.Take("partitions") is { } partitions ? PartitionShares(partitions, key + ".partitions") : ImmutableSortedDictionary.Create<string, PartitionShare>(StringComparer.Ordinal),
                Order = section.Choice<ApplicationOrder>("order") ?? ApplicationOrder.Fair,
                Priority = section.Whole("priority", signed: true) ?? 0,
                MaximumApplications = section.Whole("maximumApplications"),
                MaximumActiveApplications = section.Whole("maximumActiveApplications"),
                MaximumDriverPercent = section.Percentage("maximumDriverPercent"),
                MaximumContainer = section.Amount("maximumContainer"),
                Limits = section.List("limits", Limit),
                MaximumLifetime = section.Time("maximumLifetime"),
                Preemptible = section.YesNo("preemptible") ?? true,
                Template = section.Take("template") is { } template ? Queue(template, key + ".template", path, "template") : null,
                Queues = section.List("queues", (item, itemKey) => Queue(item, itemKey, path, null)),
            };
            section.Close();
            return result;
        }

        private ImmutableSortedDictionary<string, PartitionShare> PartitionShares(YamlNode node, string key)
        {
            var shares = ImmutableSortedDictionary.CreateBuilder<string, PartitionShare>(StringComparer.Ordinal);
            if (node is not YamlMapping mapping)
            {
                Fail(node.Line, key, "Write it as partition names with 'guarantee' and 'maximum' below each.");
                return shares.ToImmutable();
            }
            foreach (var (name, line, value) in mapping.Entries)
            {
                Lines[$"{key}.{name}"] = line;
                if (Open(value, $"{key}.{name}") is { } section)
                {
                    shares[name] = new PartitionShare(section.Part("guarantee", weightAllowed: true), section.Part("maximum", weightAllowed: false));
                    section.Close();
                }
            }
            return shares.ToImmutable();
        }

        private QueueLimit Limit(YamlNode node, string key)
        {
            if (Open(node, key) is not { } section)
            {
                return new QueueLimit();
            }
            var limit = new QueueLimit
            {
                Users = section.Names("users"),
                Groups = section.Names("groups"),
                MaximumResources = section.Amount("maximumResources"),
                MaximumActiveApplications = section.Whole("maximumActiveApplications"),
            };
            section.Close();
            return limit;
        }

        private PartitionConfiguration Partition(YamlNode node, string key)
        {
            if (Open(node, key) is not { } section)
            {
                return new PartitionConfiguration("", false);
            }
            var partition = new PartitionConfiguration(section.Text("name") ?? "", section.YesNo("shared") ?? false);
            section.Close();
            return partition;
        }

        private PlacementRule Rule(YamlNode node, string key)
        {
            if (Open(node, key) is not { } section)
            {
                return new PlacementRule(PlacementAction.Reject);
            }
            var action = section.Choice<PlacementAction>("action");
            if (action is null && !section.Has("action"))
            {
                Fail(node.Line, key + ".action", $"A rule needs an action: {Choices<PlacementAction>()}.");
            }
            var rule = new PlacementRule(action ?? PlacementAction.Reject)
            {
                User = section.Text("user"),
                Group = section.Text("group"),
                Application = section.Text("application"),
                Queue = section.Text("queue") ?? "root",
                Create = section.YesNo("create") ?? false,
            };
            section.Close();
            return rule;
        }

        private PreemptionConfiguration Preemption(YamlNode node, PreemptionConfiguration standard)
        {
            if (Open(node, "preemption") is not { } section)
            {
                return standard;
            }
            var preemption = new PreemptionConfiguration
            {
                Enabled = section.YesNo("enabled") ?? standard.Enabled,
                InsideQueues = section.YesNo("insideQueues") ?? standard.InsideQueues,
                Delay = section.Time("delay") ?? standard.Delay,
                Interval = section.Time("interval") ?? standard.Interval,
                RoundPercent = section.Percentage("roundPercent") ?? standard.RoundPercent,
            };
            section.Close();
            return preemption;
        }

        private Section? Open(YamlNode node, string key)
        {
            Lines.TryAdd(key, node.Line);
            if (node is YamlMapping mapping)
            {
                return new Section(this, mapping, key);
            }
            if (node is YamlScalar { Empty: true })
            {
                return new Section(this, new YamlMapping(node.Line, []), key);
            }
            Fail(node.Line, key, "Keys with values were expected here, such as 'name: production'.");
            return null;
        }

        internal static string Choices<T>()
            where T : struct, Enum => string.Join(", ", Enum.GetNames<T>().Select(Camel));

        private static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];
    }

    // The keys of one map: each is taken once by whoever knows it; what is left is unknown.
    private sealed class Section(Reading reading, YamlMapping mapping, string key)
    {
        private readonly HashSet<string> known = new(StringComparer.Ordinal);

        public bool Has(string name) => mapping.Entries.Exists(entry => entry.Key == name);

        public YamlNode? Take(string name)
        {
            known.Add(name);
            var entry = mapping.Entries.Find(one => one.Key == name);
            if (entry is not null)
            {
                reading.Lines[KeyOf(name)] = entry.Line;
            }
            return entry?.Value is YamlScalar { Empty: true } ? null : entry?.Value;
        }

        public string? Text(string name)
        {
            switch (Take(name))
            {
                case null:
                    return null;
                case YamlScalar scalar:
                    return scalar.Value;
                case var other:
                    reading.Fail(other.Line, KeyOf(name), "One text was expected here.");
                    return null;
            }
        }

        public int? Whole(string name, bool signed = false)
        {
            if (Text(name) is not { } text)
            {
                return null;
            }
            if (int.TryParse(text, signed ? NumberStyles.AllowLeadingSign : NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                return number;
            }
            Fail(name, $"'{YamlTree.Shorten(text)}' is not a whole number{(signed ? "" : " of 0 or more")}.");
            return null;
        }

        public int? Percentage(string name)
        {
            if (Text(name) is not { } text)
            {
                return null;
            }
            if (int.TryParse(text.EndsWith('%') ? text[..^1].TrimEnd() : text, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            {
                return number;
            }
            Fail(name, $"'{YamlTree.Shorten(text)}' is not a percentage: write it as 10 or 10%.");
            return null;
        }

        public bool? YesNo(string name)
        {
            if (Text(name) is not { } text)
            {
                return null;
            }
            switch (text)
            {
                case "true" or "yes" or "on":
                    return true;
                case "false" or "no" or "off":
                    return false;
                default:
                    Fail(name, $"'{YamlTree.Shorten(text)}' is neither true nor false.");
                    return null;
            }
        }

        public TimeSpan? Time(string name)
        {
            if (Text(name) is not { } text)
            {
                return null;
            }
            if (TryReadTime(text, out var time))
            {
                return time;
            }
            Fail(name, $"'{YamlTree.Shorten(text)}' is not a time: write it as 250ms, 30s, 5m, 2h or 1d.");
            return null;
        }

        public T? Choice<T>(string name)
            where T : struct, Enum
        {
            if (Text(name) is not { } text)
            {
                return null;
            }
            if (!char.IsAsciiDigit(text.FirstOrDefault()) && !text.Contains(',', StringComparison.Ordinal) && Enum.TryParse<T>(text, ignoreCase: true, out var value) && Enum.IsDefined(value))
            {
                return value;
            }
            Fail(name, $"'{YamlTree.Shorten(text)}' is none of {Reading.Choices<T>()}.");
            return null;
        }

        public ImmutableArray<string> Names(string name)
        {
            switch (Take(name))
            {
                case null:
                    return [];
                case YamlScalar scalar:
                    return [scalar.Value];
                case YamlSequence sequence:
                    var names = ImmutableArray.CreateBuilder<string>();
                    foreach (var item in sequence.Items)
                    {
                        if (item is YamlScalar { Empty: false } one)
                        {
                            names.Add(one.Value);
                        }
                        else
                        {
                            reading.Fail(item.Line, KeyOf(name), "Names were expected here, such as [ann, bob].");
                        }
                    }
                    return names.ToImmutable();
                case var other:
                    reading.Fail(other.Line, KeyOf(name), "Names were expected here, such as [ann, bob].");
                    return [];
            }
        }

        public ImmutableArray<T> List<T>(string name, Func<YamlNode, string, T> read)
        {
            var items = ImmutableArray.CreateBuilder<T>();
            switch (Take(name))
            {
                case null:
                    break;
                case YamlSequence sequence:
                    for (var i = 0; i < sequence.Items.Count; i++)
                    {
                        items.Add(read(sequence.Items[i], $"{KeyOf(name)}[{i}]"));
                    }
                    break;
                case var other:
                    reading.Fail(other.Line, KeyOf(name), "A list was expected here: start each entry with '- '.");
                    break;
            }
            return items.ToImmutable();
        }

        public Share? Part(string name, bool weightAllowed)
        {
            switch (Take(name))
            {
                case null:
                    return null;
                case YamlMapping amount:
                    return AmountOf(amount, KeyOf(name)) is { } resources ? Share.Of(resources) : null;
                case YamlScalar scalar:
                    var percent = scalar.Value.EndsWith('%');
                    var text = percent ? scalar.Value[..^1].TrimEnd() : scalar.Value;
                    if (decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number) && number <= 1_000_000)
                    {
                        if (percent)
                        {
                            return Share.Percent(number);
                        }
                        if (weightAllowed)
                        {
                            return Share.Weight(number);
                        }
                    }
                    break;
                default:
                    break;
            }
            Fail(name, weightAllowed
                ? "A share is a weight (3), a percentage (60%) or an amount ({memory: 8g, cores: 4})."
                : "A maximum is a percentage (60%) or an amount ({memory: 8g, cores: 4}).");
            return null;
        }

        public Resources? Amount(string name)
        {
            switch (Take(name))
            {
                case null:
                    return null;
                case YamlMapping amount:
                    return AmountOf(amount, KeyOf(name));
                default:
                    Fail(name, "Resources were expected here: {memory: 8g, cores: 4, gpu: 1}.");
                    return null;
            }
        }

        public void Close()
        {
            foreach (var entry in mapping.Entries)
            {
                if (!known.Contains(entry.Key))
                {
                    reading.Fail(entry.Line, KeyOf(YamlTree.Shorten(entry.Key)), $"Unknown key '{YamlTree.Shorten(entry.Key)}'{Nearest(entry.Key)}; known here: {string.Join(", ", known)}.");
                }
            }
        }

        private Resources? AmountOf(YamlMapping amount, string path)
        {
            var (memory, cores) = (0L, 0L);
            var custom = ImmutableSortedDictionary.CreateBuilder<string, long>(StringComparer.Ordinal);
            var failed = false;
            foreach (var (name, line, value) in amount.Entries)
            {
                reading.Lines[$"{path}.{name}"] = line;
                var text = (value as YamlScalar)?.Value ?? "";
                var number = 0L;
                var good = name switch
                {
                    "memory" => TryReadMemory(text, out memory),
                    "cores" => TryReadCores(text, out cores),
                    _ => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number),
                };
                if (!good)
                {
                    failed = true;
                    reading.Fail(line, $"{path}.{name}", $"'{YamlTree.Shorten(text)}' is not an amount of {YamlTree.Shorten(name)}: write {(name switch { "memory" => "it as 512m, 8g or 1.5t", "cores" => "it as 4, 1.5 or 500m", _ => "a whole number of 0 or more" })}.");
                }
                else if (number > 0)
                {
                    custom[name] = number;
                }
            }
            return failed ? null : new Resources(memory, cores) { Custom = custom.ToImmutable() };
        }

        private void Fail(string name, string message)
        {
            var line = mapping.Entries.Find(entry => entry.Key == name)?.Value.Line ?? mapping.Line;
            reading.Fail(line, KeyOf(name), message);
        }

        private string KeyOf(string name) => key.Length == 0 ? name : $"{key}.{name}";

        private string Nearest(string unknown)
        {
            foreach (var name in known)
            {
                if (Distance(name, unknown) <= 2)
                {
                    return $": did you mean '{name}'?";
                }
            }
            return "";
        }

        // Levenshtein, on words of a few letters.
        private static int Distance(string left, string right)
        {
            if (Math.Abs(left.Length - right.Length) > 2)
            {
                return 3;
            }
            var row = Enumerable.Range(0, right.Length + 1).ToArray();
            for (var i = 1; i <= left.Length; i++)
            {
                var corner = row[0];
                row[0] = i;
                for (var j = 1; j <= right.Length; j++)
                {
                    var above = row[j];
                    row[j] = Math.Min(Math.Min(row[j] + 1, row[j - 1] + 1), corner + (char.ToLowerInvariant(left[i - 1]) == char.ToLowerInvariant(right[j - 1]) ? 0 : 1));
                    corner = above;
                }
            }
            return row[^1];
        }
    }
}
