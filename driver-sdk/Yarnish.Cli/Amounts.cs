using System.Collections.Immutable;
using System.CommandLine;
using System.Globalization;
using Yarnish.Protocol;
using Yarnish.Queues;

namespace Yarnish.Cli;

/// <summary>Options that name resources, written as in the queue file.</summary>
internal static class Amounts
{
    public static Option<string?> Memory(string name, string what) => new(name) { Description = $"Memory {what}, such as 512m or 2g." };

    public static Option<string?> Cores(string name, string what) => new(name) { Description = $"Cores {what}, such as 2, 1.5 or 500m." };

    public static Option<string[]> Custom(string name, string what) => new(name) { Description = $"Another resource {what}, as NAME=NUMBER, such as gpu=1. May come several times." };

    public static Resources Read(ParseResult parsed, Option<string?> memory, Option<string?> cores, Option<string[]> custom)
    {
        var (bytes, milliCores) = (0L, 0L);
        if (parsed.GetValue(memory) is { } m && !QueueFileReader.TryReadMemory(m, out bytes))
        {
            throw new CommandException(ExitCodes.Usage, $"{memory.Name} '{m}' is not an amount of memory: write it as 512m or 2g.");
        }
        if (parsed.GetValue(cores) is { } c && !QueueFileReader.TryReadCores(c, out milliCores))
        {
            throw new CommandException(ExitCodes.Usage, $"{cores.Name} '{c}' is not a number of cores: write it as 2, 1.5 or 500m.");
        }
        var others = ImmutableSortedDictionary.CreateBuilder<string, long>(StringComparer.Ordinal);
        foreach (var (name, value) in Pairs(parsed.GetValue(custom) ?? [], custom.Name))
        {
            others[name] = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0
                ? number
                : throw new CommandException(ExitCodes.Usage, $"{custom.Name} {name}={value}: '{value}' is not a whole number above 0.");
        }
        return new Resources(bytes, milliCores) { Custom = others.ToImmutable() };
    }

    public static IEnumerable<(string Name, string Value)> Pairs(IEnumerable<string> texts, string option)
    {
        foreach (var text in texts)
        {
            var parts = text.Split('=', 2);
            yield return parts is [{ Length: > 0 }, { Length: > 0 }]
                ? (parts[0], parts[1])
                : throw new CommandException(ExitCodes.Usage, $"{option} '{text}' is not NAME=VALUE.");
        }
    }
}
