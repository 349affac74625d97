using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using Microsoft.Extensions.Configuration;

namespace Yarnish.Hosting;

/// <summary>
/// Where settings come from, weakest first: <c>appsettings.json</c> in the working directory, environment variables (<c>Yarnish__Address</c>),
/// arguments (<c>--Yarnish:Address=…</c>), code. Settings of Yarnish live in the section <c>Yarnish</c>; one that nobody knows is an error, since a
/// misspelt setting is otherwise silently a default.
/// </summary>
public static class YarnishConfiguration
{
    /// <summary>Name of the section.</summary>
    public const string Section = "Yarnish";

    /// <summary>Builds the configuration.</summary>
    /// <param name="arguments">Arguments of the program; those that are not <c>--Yarnish:Key=value</c>, <c>--Logging:…</c> (or with a space for =) are left to the program.</param>
    /// <param name="code">Settings given in code, with full names such as <c>Yarnish:Address</c>; null when there are none.</param>
    /// <param name="directory">Where <c>appsettings.json</c> is looked for; null is the working directory.</param>
    /// <exception cref="ConfigurationException"><c>appsettings.json</c> cannot be read.</exception>
    public static IConfigurationRoot Build(IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string?>? code = null, string? directory = null)
    {
        var file = Path.Combine(directory ?? Environment.CurrentDirectory, "appsettings.json");
        try
        {
            var builder = new ConfigurationBuilder()
                .AddJsonFile(file, optional: true, reloadOnChange: false)
                .AddEnvironmentVariables()
                .AddInMemoryCollection(OurArguments(arguments));
            if (code is not null)
            {
                builder.AddInMemoryCollection(code);
            }
            return builder.Build();
        }
        catch (Exception error) when (error is InvalidDataException or FormatException or IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"Cannot read {file}: {error.InnerException?.Message ?? error.Message}", error);
        }
    }

    /// <summary>
    /// Fills an options object from the section and validates it: each public settable property is a setting of the same name; data annotations are checked.
    /// </summary>
    /// <typeparam name="T">The options; its initializers are the defaults.</typeparam>
    /// <param name="configuration">From <see cref="Build"/>.</param>
    /// <param name="section">The section, <c>Yarnish</c> unless a part of it is meant.</param>
    /// <exception cref="ConfigurationException">A value cannot be read or is not valid; the text names setting, value and rule.</exception>
    public static T Bind<T>(this IConfiguration configuration, string section = Section)
        where T : class, new()
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var options = new T();
        var values = configuration.GetSection(section);
        foreach (var property in Settings(typeof(T)))
        {
            var value = values.GetSection(property.Name);
            if (!value.Exists() || value.Value is not { } text)
            {
                if (value.Exists())
                {
                    try
                    {
                        property.SetValue(options, value.Get(property.PropertyType));
                    }
                    catch (InvalidOperationException error)
                    {
                        throw new ConfigurationException($"{Name(section, property.Name)} is given with parts below it, which is not {Kind(property.PropertyType)}.", error);
                    }
                }
                continue;
            }
            try
            {
                property.SetValue(options, Read(text, property.PropertyType) ?? value.Get(property.PropertyType));
            }
            catch (Exception error) when (error is FormatException or OverflowException or InvalidOperationException or ArgumentException)
            {
                throw new ConfigurationException(
                    $"{Name(section, property.Name)} is '{Shown(property.Name, text)}', which is not {Kind(property.PropertyType)}.", error);
            }
        }
        var faults = new List<ValidationResult>();
        return Validator.TryValidateObject(options, new ValidationContext(options), faults, validateAllProperties: true)
            ? options
            : throw new ConfigurationException(string.Join(" ", faults.Select(fault => Describe(fault, section, options))));
    }

    /// <summary>Refuses settings under <c>Yarnish</c> that no part of the program knows.</summary>
    /// <param name="configuration">From <see cref="Build"/>.</param>
    /// <param name="known">The option types whose public settable properties are the known settings.</param>
    /// <exception cref="ConfigurationException">There is one; the text says which, where it probably came from and what is nearest to it.</exception>
    public static void RequireKnownSettings(this IConfiguration configuration, params IReadOnlyCollection<Type> known)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var names = known.SelectMany(Settings).Select(property => property.Name).Distinct(StringComparer.OrdinalIgnoreCase).ToArray();
        foreach (var child in configuration.GetSection(Section).GetChildren())
        {
            if (names.Contains(child.Key, StringComparer.OrdinalIgnoreCase))
            {
                continue;
            }
            var nearest = names.Order(StringComparer.Ordinal).MinBy(name => Distance(name.ToUpperInvariant(), child.Key.ToUpperInvariant()));
            var hint = nearest is not null && Distance(nearest.ToUpperInvariant(), child.Key.ToUpperInvariant()) <= Math.Max(2, nearest.Length / 3)
                ? $"Did you mean {Name(Section, nearest)}?"
                : $"Known settings: {string.Join(", ", names.Order(StringComparer.Ordinal))}.";
            throw new ConfigurationException($"{Name(Section, child.Key)} (environment: {Section}__{child.Key}) is not a setting. {hint}");
        }
    }

    /// <summary>The value as it may be shown: secrets, passwords and tokens are masked, also inside URIs and connection strings.</summary>
    /// <param name="name">Name of the setting.</param>
    /// <param name="value">Its value.</param>
    public static string Shown(string name, string value)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(value);
        if (name.Contains("Secret", StringComparison.OrdinalIgnoreCase) || name.Contains("Password", StringComparison.OrdinalIgnoreCase)
            || name.Contains("Token", StringComparison.OrdinalIgnoreCase))
        {
            return value.Length == 0 ? "" : "***";
        }
        var masked = System.Text.RegularExpressions.Regex.Replace(value, "(://[^:/@]*):[^@]*@", "$1:***@");
        return System.Text.RegularExpressions.Regex.Replace(masked, "(?i)(password=)[^,;]*", "$1***");
    }

    private static IEnumerable<KeyValuePair<string, string?>> OurArguments(IReadOnlyList<string> arguments)
    {
        for (var i = 0; i < arguments.Count; i++)
        {
            var argument = arguments[i];
            if (argument == "--")
            {
                yield break;
            }
            if (!argument.StartsWith("--", StringComparison.Ordinal) || !argument.Contains(':', StringComparison.Ordinal))
            {
                continue;
            }
            var equals = argument.IndexOf('=', StringComparison.Ordinal);
            var key = argument[2..(equals < 0 ? argument.Length : equals)];
            if (!key.StartsWith(Section + ":", StringComparison.OrdinalIgnoreCase) && !key.StartsWith("Logging:", StringComparison.OrdinalIgnoreCase))
            {
                continue;
            }
            if (equals >= 0)
            {
                yield return new(key, argument[(equals + 1)..]);
            }
            else if (i + 1 < arguments.Count && !arguments[i + 1].StartsWith("--", StringComparison.Ordinal))
            {
                yield return new(key, arguments[++i]);
            }
            else
            {
                throw new ConfigurationException($"{argument} needs a value: {argument}=VALUE.");
            }
        }
    }

    private static IEnumerable<PropertyInfo> Settings(Type type) =>
        type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.SetMethod is { IsPublic: true });

    // Times may be given in seconds, which people expect, as well as in the form of TimeSpan.
    private static object? Read(string text, Type type) => Nullable.GetUnderlyingType(type) is { } inner
        ? text.Length == 0 ? null : Read(text, inner)
        : type switch
        {
            _ when type == typeof(string) => text,
            _ when type == typeof(bool) => bool.Parse(text),
            _ when type == typeof(TimeSpan) => double.TryParse(text, CultureInfo.InvariantCulture, out var seconds)
                ? TimeSpan.FromSeconds(seconds)
                : TimeSpan.Parse(text, CultureInfo.InvariantCulture),
            { IsEnum: true } => Enum.Parse(type, text, ignoreCase: true),
            { IsPrimitive: true } => Convert.ChangeType(text, type, CultureInfo.InvariantCulture),
            _ when type == typeof(Uri) => new Uri(text, UriKind.Absolute),
            _ => null,
        };

    private static string Kind(Type type) => (Nullable.GetUnderlyingType(type) ?? type) switch
    {
        { IsEnum: true } kind => $"one of {string.Join(", ", Enum.GetNames(kind))}",
        var kind when kind == typeof(bool) => "true or false",
        var kind when kind == typeof(TimeSpan) => "a time (seconds, or hh:mm:ss)",
        var kind when kind == typeof(Uri) => "an absolute URI",
        { IsPrimitive: true } => "a number in range",
        var kind => $"a {kind.Name}",
    };

    private static string Name(string section, string name) => $"{section}:{name}";

    private static string Describe(ValidationResult fault, string section, object options)
    {
        var members = fault.MemberNames.ToArray();
        var values = members.Select(member => $"{Name(section, member)} is '{Shown(member, options.GetType().GetProperty(member)?.GetValue(options)?.ToString() ?? "")}'");
        return members.Length == 0 ? fault.ErrorMessage ?? "" : $"{string.Join(", ", values)}: {fault.ErrorMessage}";
    }

    // Damerau–Levenshtein with adjacent swaps: the slips that fingers make.
    private static int Distance(string a, string b)
    {
        var rows = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    rows[i, j] = i + j;
                    continue;
                }
                var cost = a[i - 1] == b[j - 1] ? 0 : 1;
                rows[i, j] = Math.Min(Math.Min(rows[i - 1, j] + 1, rows[i, j - 1] + 1), rows[i - 1, j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    rows[i, j] = Math.Min(rows[i, j], rows[i - 2, j - 2] + 1);
                }
            }
        }
        return rows[a.Length, b.Length];
    }
}

/// <summary>A setting is missing, unknown or not valid. The message is one clear error for people, with the cure; secrets are masked.</summary>
public sealed class ConfigurationException : Exception
{
    /// <summary>With a message for people.</summary>
    public ConfigurationException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
